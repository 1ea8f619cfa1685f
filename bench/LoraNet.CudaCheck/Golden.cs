using System.Text.Json;
using LoraNet.Adapters;
using LoraNet.Cuda;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Training;

namespace LoraNet.CudaCheck;

/// <summary>
/// The golden cases of transformers + PEFT on a GPU: logits before and after training as the norm of the difference over the
/// norm, losses, gradients, five training steps. Strict F32 must stay within 1e-3; BF16 is printed beside what
/// bench/peers/bf16_distance.py prints for PyTorch.
/// </summary>
internal static class Golden
{
    public static int Run(string root, Func<DType, CudaBackend> open, IReadOnlyList<DType> types)
    {
        int failures = 0;
        foreach (string folder in Directory.GetDirectories(root).Order(StringComparer.Ordinal))
        {
            if (!File.Exists(Path.Combine(folder, "adapter_trained", "adapter_config.json")) || folder.Contains("roberta", StringComparison.Ordinal)) continue;
            foreach (DType type in types)
            {
                try
                {
                    using CudaBackend backend = open(type);
                    (string line, double worst) = Compare(folder, backend);
                    bool good = type != DType.F32 || worst <= 1e-3;
                    failures += good ? 0 : 1;
                    Console.WriteLine($"{Path.GetFileName(folder),-36} {type,-5} {line}{(good ? "" : "  FAILED")}");
                }
                catch (Exception e)
                {
                    failures++;
                    Console.WriteLine($"{Path.GetFileName(folder),-36} {type,-5} {e.GetType().Name}: {e.Message}");
                }
            }
        }
        return failures;
    }

    private static (string Line, double Worst) Compare(string folder, Backend backend)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        JsonElement json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json"))).RootElement;
        using CausalLM model = CausalLM.Load(folder, backend);
        using Arena arena = new(backend);
        List<TokenRow> first = Rows(expected, 0);
        double baseLogits = Logits(model, arena, first, expected.Tensors["base.logits"].ToArray());
        AdapterFile.Load(Path.Combine(folder, "adapter_trained"), model, "trained");
        double trained = Logits(model, arena, first, expected.Tensors["trained.logits"].ToArray());
        double loss = Math.Abs(Evaluator.Evaluate(model, first, 8).Loss / expected.Tensors["trained.loss"].ToArray()[0] - 1);
        double gradient = Gradients(model, arena, first, expected);
        model.DeleteAdapter("trained");
        AdapterFile.Load(Path.Combine(folder, "adapter_init"), model);
        double steps = Train(model, expected, json);
        double worst = new[] { baseLogits, trained, loss, gradient, steps }.Max();
        return ($"base {baseLogits:e1}  trained {trained:e1}  loss {loss:e1}  gradients {gradient:e1}  step losses {steps:e1}", worst);
    }

    private static List<TokenRow> Rows(SafetensorsFile expected, int step)
    {
        HostTensor ids = expected.Tensors[$"step{step}.input_ids"];
        int rows = ids.Shape[0], length = ids.Shape[1];
        float[] i = ids.ToArray(), m = expected.Tensors[$"step{step}.attention_mask"].ToArray(), l = expected.Tensors[$"step{step}.labels"].ToArray();
        return [.. Enumerable.Range(0, rows).Select(r => new TokenRow(Row(i, r), Row(l, r), Row(m, r)))];

        int[] Row(float[] values, int r) => [.. values.AsSpan(r * length, length).ToArray().Select(v => (int)v)];
    }

    private static double Logits(CausalLM model, Arena arena, List<TokenRow> rows, float[] expected)
    {
        using TokenBatch batch = TokenBatch.Create(model.Backend, rows, model.Options.VocabularySize);
        int v = model.Options.VocabularySize;
        double difference = 0, norm = 0;
        model.Logits(arena, batch, (start, logits) =>
        {
            float[] values = model.Backend.Download(logits);
            for (int i = 0; i < logits.Rows; i++)
            {
                (int r, int c) = batch.Origin[start + i];
                for (int j = 0; j < v; j++)
                {
                    double e = expected[(r * batch.Longest + c) * v + j], d = values[i * v + j] - e;
                    difference += d * d;
                    norm += e * e;
                }
            }
        });
        return Math.Sqrt(difference / norm);
    }

    private static double Gradients(CausalLM model, Arena arena, List<TokenRow> rows, SafetensorsFile expected)
    {
        using TokenBatch batch = TokenBatch.Create(model.Backend, rows, model.Options.VocabularySize);
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        model.AccumulateLoss(new Tape(arena), batch, new ForwardContext { Training = true }, 1f / batch.TrainedTokens, sum);
        double worst = 0;
        foreach (Parameter parameter in model.TrainableParameters)
        {
            string plain = "trained.grad." + parameter.Name;
            string name = new[] { plain, plain + ".weight", plain.Replace(".weight", ".modules_to_save.weight", StringComparison.Ordinal) }.First(expected.Tensors.ContainsKey);
            float[] mine = parameter.ToFile(gradient: true), theirs = expected.Tensors[name].ToArray();
            double difference = 0, norm = 0;
            for (int i = 0; i < mine.Length; i++)
            {
                difference += (mine[i] - (double)theirs[i]) * (mine[i] - (double)theirs[i]);
                norm += (double)theirs[i] * theirs[i];
            }
            worst = Math.Max(worst, Math.Sqrt(difference / norm));
        }
        model.Backend.Free(sum);
        return worst;
    }

    private static double Train(CausalLM model, SafetensorsFile expected, JsonElement json)
    {
        int steps = json.GetProperty("steps").GetInt32();
        List<TokenRow> rows = [.. Enumerable.Range(0, steps).SelectMany(s => Rows(expected, s))];
        TrainingOptions options = new()
        {
            BatchSize = rows.Count / steps,
            MaxSteps = steps,
            Shuffle = false,
            LearningRate = json.GetProperty("lr").GetDouble(),
            WeightDecay = json.GetProperty("weight_decay").GetDouble(),
            Schedule = ScheduleKind.Constant,
            MaxGradNorm = 0,
        };
        using LoraTrainer trainer = new(model, rows, options);
        double worst = 0;
        for (int s = 0; s < steps; s++) worst = Math.Max(worst, Math.Abs(trainer.Step().Loss / json.GetProperty("train_losses")[s].GetDouble() - 1));
        return worst;
    }
}

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
/// norm, losses, gradients, five training steps. F32 must stay within a limit, 1e-3 where it is strict; BF16 is printed beside what
/// bench/peers/bf16_distance.py prints for PyTorch.
/// </summary>
internal static class Golden
{
    public static int Run(string root, Func<DType, CudaBackend> open, double limit, IReadOnlyList<DType> types)
    {
        int failures = 0;
        foreach (string folder in Directory.GetDirectories(root).Order(StringComparer.Ordinal))
        {
            if (!File.Exists(Path.Combine(folder, "adapter_trained", "adapter_config.json"))) continue;
            foreach (DType type in types)
            {
                try
                {
                    using CudaBackend backend = open(type);
                    (string line, double worst) = Compare(folder, backend);
                    bool good = type != DType.F32 || worst <= limit;
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
        using Arena arena = new(backend);
        using IGoldenModel golden = ModelConfig.Load(folder).ModelType == "roberta" ? new GoldenClassifier(folder, backend, expected) : new GoldenDecoder(folder, backend, expected);
        PretrainedModel model = golden.Model;
        double baseLogits = golden.Logits(arena, expected.Tensors["base.logits"].ToArray());
        AdapterFile.Load(Path.Combine(folder, "adapter_trained"), model, "trained");
        double trained = golden.Logits(arena, expected.Tensors["trained.logits"].ToArray());
        double loss = Math.Abs(golden.Loss() / expected.Tensors["trained.loss"].ToArray()[0] - 1);
        double gradient = Gradients(golden, arena, expected);
        model.DeleteAdapter("trained");
        AdapterFile.Load(Path.Combine(folder, "adapter_init"), model);
        double steps = Train(golden, json);
        double worst = new[] { baseLogits, trained, loss, gradient, steps }.Max();
        return ($"base {baseLogits:e1}  trained {trained:e1}  loss {loss:e1}  gradients {gradient:e1}  step losses {steps:e1}", worst);
    }

    private static double Gradients(IGoldenModel golden, Arena arena, SafetensorsFile expected)
    {
        PretrainedModel model = golden.Model;
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        golden.Accumulate(new Tape(arena), sum);
        double worst = 0;
        int compared = 0;
        foreach (Parameter parameter in model.TrainableParameters)
        {
            string plain = "trained.grad." + parameter.Name;
            string[] names = [plain, plain + ".weight", plain.Replace(".weight", ".modules_to_save.weight", StringComparison.Ordinal), plain.Replace("classifier.", "classifier.modules_to_save.", StringComparison.Ordinal)];
            // A case lists the gradients of what it trains: none of LoRA-FA's A, and none at all of AdaLoRA, whose mask moves first.
            if (Array.Find(names, expected.Tensors.ContainsKey) is not { } name) continue;
            compared++;
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
        int listed = expected.Tensors.Keys.Count(static k => k.StartsWith("trained.grad.", StringComparison.Ordinal));
        return compared == listed ? worst : throw new InvalidDataException($"{listed} gradients are expected and {compared} were found.");
    }

    private static double Train(IGoldenModel golden, JsonElement json)
    {
        int steps = json.GetProperty("steps").GetInt32();
        TrainingOptions options = new()
        {
            BatchSize = golden.BatchSize,
            MaxSteps = steps,
            Shuffle = false,
            LearningRate = json.GetProperty("lr").GetDouble(),
            WeightDecay = json.GetProperty("weight_decay").GetDouble(),
            Schedule = ScheduleKind.Constant,
            MaxGradNorm = 0,
            AdamEpsilon = json.TryGetProperty("eps", out JsonElement eps) ? eps.GetDouble() : 1e-8,
            LoraFa = json.TryGetProperty("lora_fa", out JsonElement frozen) && frozen.GetBoolean(),
        };
        using LoraTrainer trainer = golden.Trainer(options);
        double worst = 0;
        for (int s = 0; s < steps; s++) worst = Math.Max(worst, Math.Abs(trainer.Step().Loss / json.GetProperty("train_losses")[s].GetDouble() - 1));
        return worst;
    }
}

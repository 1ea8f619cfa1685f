using LoraNet.Adapters;
using LoraNet.Data;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Tests.Golden;

/// <summary>
/// Every number of a classifier's golden case of transformers + PEFT: logits and losses of the base, untrained, trained, merged
/// and disabled adapter; gradients; five training steps; the adapter after them; checksums of the merged weights; files.
/// </summary>
public sealed class ClassifierGoldenTests(Xunit.Abstractions.ITestOutputHelper output)
{
    [SharedTheory]
    [InlineData("roberta-classifier", "reference")]
    [InlineData("roberta-classifier", "cpu")]
    public void MatchesPeft(string name, string backendName) => Compare(TestData.SharedPath("reference", name), backendName);

    private void Compare(string folder, string backendName)
    {
        using Backend backend = GoldenTests.CreateBackend(backendName);
        using ReferenceCase golden = new(folder);
        using SequenceClassifier model = SequenceClassifier.Load(folder, backend);
        using Arena arena = new(backend);
        Differences table = new();
        string trained = Path.Combine(folder, "adapter_trained", AdapterFile.TensorFileName);

        CompareForward(model, "base");
        LoraAdapter adapter = AdapterFile.Load(Path.Combine(folder, "adapter_init"), model);
        Assert.Equal(golden.Json.GetProperty("trainable_parameters").GetInt64(), adapter.ParameterCount);
        CompareForward(model, "init");
        Train(golden, model, table);
        using (SafetensorsFile file = SafetensorsFile.Open(trained))
        {
            Assert.Equal(file.Tensors.Keys.Order(StringComparer.Ordinal), adapter.Parameters.Select(p => AdapterTensors.Prefix + p.Name).Order(StringComparer.Ordinal));
            foreach (Parameter parameter in adapter.Parameters)
                table.Add($"after training {parameter.Name}", Relative(parameter.ToFile(), file.Tensors[AdapterTensors.Prefix + parameter.Name].ToArray()), 5e-4);
        }
        AdapterTensors.Read(trained, adapter);
        CompareForward(model, "trained");
        CompareGradients(golden, model, arena, table);
        using (SequenceClassifier merged = model.MergeAndUnload()) CompareForward(merged, "merged");
        CompareChecksums(golden, model, table);
        using (model.DisableAdapter()) CompareForward(model, "base");
        CompareForward(model, "trained");
        output.WriteLine(table.ToString());
        table.AssertAll();

        void CompareForward(SequenceClassifier of, string what)
        {
            ClassificationResult result = Evaluator.Evaluate(of, Rows(golden, 0), 8, arena);
            float[] expected = golden.Values($"{what}.logits"), actual = [.. result.Logits.SelectMany(l => l)];
            Assert.Equal(expected.Length, actual.Length);
            table.Add($"{what}.logits", expected.Zip(actual, (e, a) => Math.Abs(e - (double)a) / Math.Max(1, Math.Abs(e))).Max(), 1e-4);
            table.Add($"{what}.loss", Math.Abs(result.Loss - golden.Scalar($"{what}.loss")), 1e-4);
            Assert.Equal(0, arena.Live);
        }
    }

    private static List<ClassificationRow> Rows(ReferenceCase golden, int step)
    {
        HostTensor shape = golden.Expected.Tensors[$"step{step}.input_ids"];
        int length = shape.Shape[1];
        int[][] ids = [.. golden.Values($"step{step}.input_ids").Select(v => (int)v).Chunk(length)];
        int[][] masks = [.. golden.Values($"step{step}.attention_mask").Select(v => (int)v).Chunk(length)];
        float[] labels = golden.Values($"step{step}.labels");
        return [.. ids.Select((row, r) => new ClassificationRow(row, masks[r], null, labels[r]))];
    }

    private static void Train(ReferenceCase golden, SequenceClassifier model, Differences table)
    {
        List<ClassificationRow> rows = [];
        for (int s = 0; s < golden.Steps; s++) rows.AddRange(Rows(golden, s));
        TrainingOptions options = new()
        {
            BatchSize = rows.Count / golden.Steps,
            MaxSteps = golden.Steps,
            Shuffle = false,
            LearningRate = golden.Json.GetProperty("lr").GetDouble(),
            WeightDecay = golden.Json.GetProperty("weight_decay").GetDouble(),
            Schedule = ScheduleKind.Constant,
            MaxGradNorm = 0,
        };
        using LoraTrainer trainer = new(model, rows, options);
        for (int s = 0; s < golden.Steps; s++)
        {
            StepResult step = trainer.Step();
            double loss = golden.Json.GetProperty("train_losses")[s].GetDouble(), norm = golden.Json.GetProperty("train_grad_norms")[s].GetDouble();
            table.Add($"step{s}.loss", Math.Abs(step.Loss - loss) / loss, 1e-5);
            table.Add($"step{s}.grad_norm", Math.Abs(step.GradientNorm - norm) / norm, 1e-4);
        }
    }

    private static void CompareGradients(ReferenceCase golden, SequenceClassifier model, Arena arena, Differences table)
    {
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, Rows(golden, 0), model.Options);
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        model.AccumulateLoss(new Tape(arena), batch, new ForwardContext { Training = true }, 1f / batch.Rows, sum);
        Assert.Equal(0, arena.Live);
        int compared = 0;
        foreach (Parameter parameter in model.TrainableParameters)
        {
            // PEFT's module names at run time differ from the names in its files.
            string name = "trained.grad." + parameter.Name.Replace("classifier.", "classifier.modules_to_save.");
            table.Add($"grad {parameter.Name}", Relative(parameter.ToFile(gradient: true), golden.Values(name)), 1e-4);
            compared++;
        }
        Assert.Equal(golden.Expected.Tensors.Keys.Count(k => k.StartsWith("trained.grad.", StringComparison.Ordinal)), compared);
        model.Backend.Free(sum);
    }

    private static void CompareChecksums(ReferenceCase golden, SequenceClassifier model, Differences table)
    {
        using MergedWeights merged = new(model);
        foreach (System.Text.Json.JsonProperty entry in golden.Json.GetProperty("merged_checksum").EnumerateObject())
        {
            Assert.Contains(entry.Name, merged.Names);
            float[] values = merged.Compute(entry.Name);
            double sum = values.Sum(v => (double)v), squares = values.Sum(v => (double)v * v), magnitude = values.Sum(v => (double)Math.Abs(v));
            table.Add($"merged {entry.Name} sum", Math.Abs(sum - entry.Value[0].GetDouble()) / magnitude, 1e-5);
            table.Add($"merged {entry.Name} squares", Math.Abs(squares - entry.Value[1].GetDouble()) / squares, 1e-5);
        }
    }

    private static double Relative(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0, norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            difference += Math.Pow(actual[i] - (double)expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }
        return norm == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / norm);
    }
}

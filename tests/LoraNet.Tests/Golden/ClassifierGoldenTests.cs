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
        using Backend backend = ReferenceCase.CreateBackend(backendName);
        using ReferenceCase golden = new(folder);
        using SequenceClassifier model = SequenceClassifier.Load(folder, backend);
        using Arena arena = new(backend);
        Differences table = new();

        CompareForward(model, "base");
        LoraAdapter adapter = AdapterFile.Load(Path.Combine(folder, "adapter_init"), model);
        Assert.Equal(golden.Json.GetProperty("trainable_parameters").GetInt64(), adapter.ParameterCount);
        CompareForward(model, "init");
        Train(golden, model, table);
        golden.CompareAdapter(adapter, table);
        AdapterTensors.Read(golden.TrainedAdapter, adapter);
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
        using LoraTrainer trainer = new(model, rows, golden.Options(rows.Count));
        golden.CompareSteps(trainer, table);
    }

    private static void CompareGradients(ReferenceCase golden, SequenceClassifier model, Arena arena, Differences table)
    {
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, Rows(golden, 0), model.Options);
        golden.CompareGradients(model, arena, table, (tape, sum) => model.AccumulateLoss(tape, batch, new ForwardContext { Training = true }, 1f / batch.Rows, sum));
    }

    private static void CompareChecksums(ReferenceCase golden, SequenceClassifier model, Differences table)
    {
        using MergedWeights merged = new(model);
        foreach (System.Text.Json.JsonProperty entry in golden.Json.GetProperty("merged_checksum").EnumerateObject())
        {
            Assert.Contains(entry.Name, merged.Names);
            table.AddChecksum($"merged {entry.Name}", merged.Compute(entry.Name), entry.Value[0].GetDouble(), entry.Value[1].GetDouble());
        }
    }
}

using LoraNet.Adapters;
using LoraNet.Data;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Formats;
using LoraNet.Training;

namespace LoraNet.Tests.Models;

/// <summary>BERT and RoBERTa classifiers on tiny random models: positions, padding, names, heads, files and errors.</summary>
public sealed class EncoderTests
{
    private const int Hidden = 16, Inner = 24, Layers = 2, Vocabulary = 40, Positions = 20;
    private static readonly ClassificationRow[] _rows =
    [
        new([2, 11, 7, 30, 3], null, null, 1),
        new([2, 9, 3, 14, 5, 21, 3], null, [0, 0, 0, 1, 1, 1, 1], 0),
        new([2, 33, 3], null, null, 2),
    ];

    private static readonly string[] _labels = ["a", "b", "c"];

    [Fact]
    public void PaddingAndCompanyDoNotChangeARow()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier model = Open(WriteBert(scratch["m"]));
        float[][] together = Logits(model, _rows);
        for (int r = 0; r < _rows.Length; r++)
        {
            ClassificationRow row = _rows[r];
            AssertClose(together[r], Logits(model, [row])[0], 1e-6);
            int[] mask = [.. row.InputIds.Select(_ => 1), 0, 0];
            AssertClose(together[r], Logits(model, [new ClassificationRow([.. row.InputIds, 0, 0], mask, row.TokenTypeIds is { } t ? [.. t, 0, 0] : null, row.Label)])[0], 1e-6);
        }
        Assert.True(Math.Abs(together[0][0] - together[2][0]) > 1e-3);
        // The second text's token types matter.
        Assert.NotEqual(together[1], Logits(model, [_rows[1] with { TokenTypeIds = null }])[0]);
    }

    [Fact]
    public void RobertaCountsPositionsFromThePaddingId()
    {
        using Backend backend = new CpuBackend();
        EncoderOptions options = new()
        {
            ModelType = "roberta",
            Prefix = "roberta",
            HiddenSize = 8,
            IntermediateSize = 8,
            Layers = 1,
            Heads = 1,
            VocabularySize = 10,
            Positions = 7,
            TokenTypes = 1,
            NormEps = 1e-5f,
            PositionsAfter = 1,
            Head = ClassificationHead.DenseAndProjection,
            Labels = 2,
        };
        // The padding id inside a text does not count and has its own position; a masked tail is no row.
        using EncoderBatch batch = EncoderBatch.Create(backend, [new ClassificationRow([0, 5, 1, 7, 2, 1], [1, 1, 1, 1, 1, 0], null, 0)], options);
        int[] positions = new int[5];
        backend.DownloadBytes(batch.Positions, System.Runtime.InteropServices.MemoryMarshal.AsBytes(positions.AsSpan()));
        Assert.Equal([2, 3, 1, 4, 5], positions);
        Assert.Contains("positions for 5", Assert.Throws<LoraNetException>(() => EncoderBatch.Create(backend, [new ClassificationRow([0, 5, 6, 7, 8, 9], null, null, 0)], options)).Message);
    }

    [Fact]
    public void NamesWithoutPrefixAndOldNormNamesAreTheSameModel()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier plain = Open(WriteBert(scratch["a"]));
        using SequenceClassifier bare = Open(WriteBert(scratch["b"], name => name.Replace("bert.", "").Replace("LayerNorm.weight", "LayerNorm.gamma").Replace("LayerNorm.bias", "LayerNorm.beta"), head: false));
        Assert.False(plain.HasNewHead);
        Assert.True(bare.HasNewHead);
        using Arena arena = new(plain.Backend), other = new(bare.Backend);
        using EncoderBatch batch = EncoderBatch.Create(plain.Backend, _rows, plain.Options), same = EncoderBatch.Create(bare.Backend, _rows, bare.Options);
        Tensor h = plain.HiddenStates(arena, batch), g = bare.HiddenStates(other, same);
        Assert.Equal(plain.Backend.Download(h), bare.Backend.Download(g));
        Assert.Equal(plain.Modules.SelectMany(m => m.Tensors).Select(t => t.Name), bare.Modules.SelectMany(m => m.Tensors).Select(t => t.Name));
        Arena.Release(h);
        Arena.Release(g);
    }

    [Fact]
    public void RegressionHasTheSquaredErrorAndItsGradient()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier model = Open(WriteBert(scratch["m"], head: false), ["score"]);
        Assert.True(model.Options.Regression);
        ClassificationRow[] rows = [.. _rows.Select((r, i) => r with { Label = 0.5 + i })];
        double[] predicted = [.. Logits(model, rows).Select(l => (double)l[0])];
        double expected = predicted.Zip(rows, (p, r) => (p - r.Label) * (p - r.Label)).Average();
        Assert.Equal(expected, Evaluator.Evaluate(model, rows, 2).Loss, 5);
        LoraAdapter adapter = model.AddAdapter(new LoraConfig());
        using Arena arena = new(model.Backend);
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, rows, model.Options);
        Tensor sum = model.Backend.Create(new float[1], 1);
        model.AccumulateLoss(new Tape(arena), batch, new ForwardContext { Training = true }, 1f / rows.Length, sum);
        Assert.Equal(0, arena.Live);
        model.Backend.Free(sum);
        float[] gradient = adapter.Parameters.Single(p => p.Name == "classifier.bias").ToFile(gradient: true);
        Assert.Equal(predicted.Zip(rows, (p, r) => 2 * (p - r.Label) / rows.Length).Sum(), gradient[0], 5);
    }

    [Fact]
    public void ARegressionLearnsItsValues()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier model = Open(WriteBert(scratch["m"], head: false), ["score"]);
        model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8 });
        ClassificationRow[] rows = [.. _rows.Select((r, i) => r with { Label = new[] { 4.5, 0.25, 2 }[i] })];
        using LoraTrainer trainer = new(model, rows, new TrainingOptions { BatchSize = 3, MaxSteps = 150, LearningRate = 0.05, MaxGradNorm = 0 });
        while (trainer.State.CompletedSteps < 150) trainer.Step();
        float[][] predicted = Logits(model, rows);
        for (int r = 0; r < rows.Length; r++) Assert.Equal(rows[r].Label, predicted[r][0], 0.2);
    }

    [Fact]
    public void TheHeadIsTrainedAndSavedWithTheAdapter()
    {
        using TemporaryFolder scratch = new();
        string folder = WriteBert(scratch["m"], head: false);
        float[][] trained;
        using (SequenceClassifier model = SequenceClassifier.Load(folder, new CpuBackend(), _labels, headSeed: 1))
        {
            LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 2 });
            Assert.Equal(["classifier", "score"], adapter.Config.ModulesToSave);
            Assert.Equal("SEQ_CLS", adapter.Config.TaskType);
            using LoraTrainer trainer = new(model, _rows, new TrainingOptions { BatchSize = 3, MaxSteps = 40, LearningRate = 0.02 }, _rows);
            double before = trainer.EvaluateHeldOut().Loss;
            while (trainer.State.CompletedSteps < 40) trainer.Step();
            Assert.True(trainer.EvaluateHeldOut().Loss < 0.2 * before);
            trained = Logits(model, _rows);
            Assert.Equal(_rows.Select(r => (int)r.Label), trained.Select(l => Array.IndexOf(l, l.Max())));
            AdapterFile.Save(scratch["adapter"], model, adapter);
            ModelWriter.WriteMerged(model, folder, scratch["merged"]);
        }
        // Another new head: the adapter's own takes its place.
        using SequenceClassifier again = SequenceClassifier.Load(folder, new CpuBackend(), _labels, headSeed: 2);
        float[][] untrained = Logits(again, _rows);
        AdapterFile.Load(scratch["adapter"], again);
        for (int r = 0; r < _rows.Length; r++) AssertClose(trained[r], Logits(again, _rows)[r], 1e-6);
        using (again.DisableAdapter()) for (int r = 0; r < _rows.Length; r++) AssertClose(untrained[r], Logits(again, _rows)[r], 0);
        // The merged folder is a classifier of its own: labels, head and all.
        using SequenceClassifier merged = SequenceClassifier.Load(scratch["merged"], new CpuBackend());
        Assert.False(merged.HasNewHead);
        Assert.Equal(_labels, merged.Config.Id2Label.Values);
        for (int r = 0; r < _rows.Length; r++) AssertClose(trained[r], Logits(merged, _rows)[r], 1e-4);
    }

    [Fact]
    public void AllLinearLeavesTheHeadToModulesToSave()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier model = Open(WriteBert(scratch["m"]));
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { TargetModules = ModuleSelector.AllLinearLayers });
        Assert.DoesNotContain("classifier", adapter.Layers.Keys);
        Assert.Equal(6 * Layers + 1, adapter.Layers.Count);
        Assert.Equal(["classifier.weight", "classifier.bias"], adapter.Overrides.Select(o => o.Tensor.Name));
    }

    [Fact]
    public void WrongRowsAreNamed()
    {
        using TemporaryFolder scratch = new();
        using SequenceClassifier model = Open(WriteBert(scratch["m"]));
        Assert.Contains("begins with padding", Refused(new([0, 2, 5], [0, 1, 1], null, 0)));
        Assert.Contains("label 3", Refused(new([2, 5], null, null, 3)));
        Assert.Contains("label 0.5", Refused(new([2, 5], null, null, 0.5)));
        Assert.Contains("token id 40", Refused(new([2, 40], null, null, 0)));
        Assert.Contains("token type 2", Refused(new([2, 4], null, [0, 2], 0)));
        Assert.Contains("must agree", Refused(new([2, 4], [1], null, 0)));
        Assert.Contains("no tokens", Refused(new([], null, null, 0)));
        Assert.Contains("positions for 20", Refused(new(new int[21], null, null, 0)));
        Assert.Contains("shape [3, 16]", Assert.Throws<LoraNetException>(() => Open(scratch["m"], ["x", "y"])).Message);

        string Refused(ClassificationRow row) => Assert.Throws<LoraNetException>(() => Logits(model, [_rows[0], row])).Message;
    }

    private static SequenceClassifier Open(string folder, IReadOnlyList<string>? labels = null) => SequenceClassifier.Load(folder, new CpuBackend(), labels ?? _labels);

    private static float[][] Logits(SequenceClassifier model, ClassificationRow[] rows)
    {
        using Arena arena = new(model.Backend);
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, rows, model.Options);
        Tensor logits = model.Logits(arena, batch);
        float[][] result = [.. model.Backend.Download(logits).Chunk(model.Options.Labels)];
        Arena.Release(logits);
        Assert.Equal(0, arena.Live);
        return result;
    }

    private static void AssertClose(float[] expected, float[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = expected.Zip(actual, (e, a) => Math.Abs(e - (double)a)).Max();
        Assert.True(difference <= tolerance, $"difference {difference:e2} > {tolerance:e0}");
    }

    /// <summary>Writes a random BERT classifier of three classes, or its bare base model.</summary>
    private static string WriteBert(string folder, Func<string, string>? rename = null, bool head = true)
    {
        List<(string Name, int[] Shape)> tensors =
        [
            ("bert.embeddings.word_embeddings.weight", [Vocabulary, Hidden]), ("bert.embeddings.position_embeddings.weight", [Positions, Hidden]), ("bert.embeddings.token_type_embeddings.weight", [2, Hidden]),
            .. Norm("bert.embeddings.LayerNorm"),
        ];
        for (int i = 0; i < Layers; i++)
        {
            string layer = $"bert.encoder.layer.{i}.";
            foreach (string name in new[] { "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense" }) tensors.AddRange(Linear(layer + name, Hidden, Hidden));
            tensors.AddRange([.. Norm(layer + "attention.output.LayerNorm"), .. Linear(layer + "intermediate.dense", Inner, Hidden), .. Linear(layer + "output.dense", Hidden, Inner), .. Norm(layer + "output.LayerNorm")]);
        }
        tensors.AddRange(Linear("bert.pooler.dense", Hidden, Hidden));
        if (head) tensors.AddRange(Linear("classifier", 3, Hidden));
        Directory.CreateDirectory(folder);
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), tensors.Select(t =>
        {
            float[] values = new float[t.Shape.Aggregate(1, (a, b) => a * b)];
            LoraInitializer.Normal(values, 0.3, 7, t.Name);
            if (t.Name.EndsWith("LayerNorm.weight", StringComparison.Ordinal)) for (int i = 0; i < values.Length; i++) values[i] += 1;
            return SafetensorsEntry.FromSingles(rename?.Invoke(t.Name) ?? t.Name, values, t.Shape);
        }));
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""
            {"model_type":"bert","hidden_size":{{Hidden}},"intermediate_size":{{Inner}},"num_hidden_layers":{{Layers}},"num_attention_heads":2,"vocab_size":{{Vocabulary}},
             "max_position_embeddings":{{Positions}},"type_vocab_size":2,"hidden_act":"gelu","layer_norm_eps":1e-12,"pad_token_id":0}
            """);
        return folder;

        static IEnumerable<(string, int[])> Norm(string name) => [(name + ".weight", [Hidden]), (name + ".bias", [Hidden])];
        static IEnumerable<(string, int[])> Linear(string name, int outputs, int inputs) => [(name + ".weight", [outputs, inputs]), (name + ".bias", [outputs])];
    }
}

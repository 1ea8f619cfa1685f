using FsCheck;
using FsCheck.Xunit;
using LoraNet.Adapters;
using LoraNet.Data.Packing;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Reference;
using LoraNet.Training;
using TestData = LoraNet.Testing.TestData;

namespace LoraNet.Tests.Data;

/// <summary>Packed rows hold each sample once and train exactly what unpacked ones train.</summary>
public class PackingTests
{
    private static TokenRow Row(int length, int seed = 0, int vocabulary = 50)
    {
        Random random = new(seed);
        int[] ids = [.. Enumerable.Range(0, length).Select(_ => random.Next(vocabulary))];
        int[] labels = [.. ids.Select((id, i) => i == length - 1 || random.Next(3) > 0 ? id : TokenRow.Ignored)];
        return new TokenRow(ids, labels);
    }

    [Property(MaxTest = 300)]
    public void Every_sample_is_packed_once_and_no_row_is_too_long(PositiveInt[] lengths, PositiveInt longest, bool keepOrder)
    {
        int length = longest.Get + 1;
        TokenRow[] rows = [.. lengths.Select((l, i) => Row(1 + (l.Get % length), i))];
        IReadOnlyList<PackedRow> packs = RowPacker.Pack(rows, length, keepOrder);
        Assert.All(packs, p => Assert.InRange(p.Length, 1, length));
        Assert.Equal(rows.Length, packs.Sum(p => p.Rows.Count));
        Assert.Equal(rows.ToHashSet(ReferenceEqualityComparer.Instance), packs.SelectMany(p => p.Rows).ToHashSet(ReferenceEqualityComparer.Instance));
        if (keepOrder) Assert.Equal(rows, packs.SelectMany(p => p.Rows));
        // Best fit: of two packs at most one is half empty, and each pack's first sample fits no pack that was there before.
        else Assert.True(packs.Count(p => p.Length * 2 <= length) <= 1);
        Assert.Equal(packs.Select(p => p.Rows.Count), RowPacker.Pack(rows, length, keepOrder).Select(p => p.Rows.Count));
        Assert.Equal(rows.Sum(r => r.InputIds.Length), PackingReport.Of(packs, length).Tokens);
    }

    [Fact]
    public void Best_fit_finds_the_exact_packing()
    {
        TokenRow[] rows = [.. new[] { 3, 7, 5, 5, 6, 4, 10 }.Select((l, i) => Row(l, i))];
        IReadOnlyList<PackedRow> packs = RowPacker.Pack(rows, 10);
        Assert.Equal(["10", "3,7", "6,4", "5,5"], packs.Select(p => string.Join(',', p.Rows.Select(r => r.InputIds.Length))));
        Assert.Equal(1, PackingReport.Of(packs, 10).Fill);
        Assert.Contains("Row 7 has 10 tokens", Assert.Throws<LoraNetException>(() => RowPacker.Pack(rows, 9)).Message);
    }

    [Fact]
    public void Packing_pays_for_short_rows_only()
    {
        TokenRow[] rows = [.. Enumerable.Range(0, 100).Select(i => Row(10, i))];
        Assert.True(RowPacker.Pays(rows, 100, 2));
        Assert.False(RowPacker.Pays(rows, 12, 2));
        Assert.False(RowPacker.Pays(rows, 100, 8));
    }

    public static TheoryData<string> Models() => ["llama-tied", "mistral-window", "qwen2", "smollm3"];

    // The loss and the gradients of a packed batch are those of its samples one by one: no attention across samples, positions from 0.
    [Theory]
    [MemberData(nameof(Models))]
    public void Packed_loss_and_gradients_equal_unpacked(string name)
    {
        string folder = Path.Combine(TestData.Fixtures, "golden", name);
        using ReferenceBackend backend = new();
        using CausalLM model = CausalLM.Load(folder, backend);
        AdapterFile.Load(Path.Combine(folder, "adapter_trained"), model, trainable: true);
        using Arena arena = new(backend);
        for (int seed = 0; seed < 3; seed++)
        {
            TokenRow[] rows = [.. Enumerable.Range(0, 7).Select(i => Row(2 + ((i * 5 + seed) % 9), (seed * 100) + i, Math.Min(50, model.Options.VocabularySize)))];
            float scale = 1f / rows.Sum(r => r.TrainedTokens);
            IReadOnlyList<PackedRow> packs = RowPacker.Pack(rows, 16);
            Assert.True(packs.Count < rows.Length);
            (double loss, float[][] gradients) = Run(model, arena, [.. rows.Select(r => (IReadOnlyList<TokenRow>)[r])], scale);
            (double packedLoss, float[][] packedGradients) = Run(model, arena, [.. packs.Select(p => p.Rows)], scale);
            Assert.Equal(loss, packedLoss, 1e-5 * loss);
            for (int p = 0; p < gradients.Length; p++)
            {
                double difference = 0, size = 0;
                for (int i = 0; i < gradients[p].Length; i++)
                {
                    difference += Math.Pow(gradients[p][i] - packedGradients[p][i], 2);
                    size += Math.Pow(gradients[p][i], 2);
                }
                Assert.True(Math.Sqrt(difference) <= 1e-5 * Math.Sqrt(size), $"gradient {p} differs by {Math.Sqrt(difference / size)}");
            }
        }
    }

    private static (double Loss, float[][] Gradients) Run(CausalLM model, Arena arena, IReadOnlyList<IReadOnlyList<TokenRow>> batches, float scale)
    {
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        Tape tape = new(arena);
        foreach (IReadOnlyList<TokenRow> rows in batches)
        {
            using TokenBatch batch = TokenBatch.Create(model.Backend, rows, model.Options.VocabularySize);
            model.AccumulateLoss(tape, batch, new ForwardContext { Training = true }, scale, sum);
        }
        double loss = model.Backend.Download(sum)[0];
        model.Backend.Free(sum);
        return (loss, [.. model.TrainableParameters.Select(p => p.ToFile(gradient: true))]);
    }

    [Fact]
    public void A_trainer_takes_packed_rows_as_rows_of_its_batches()
    {
        string folder = Path.Combine(TestData.Fixtures, "golden", "llama-tied");
        TokenRow[] rows = [.. Enumerable.Range(0, 12).Select(i => Row(3 + (i % 5), i, 30))];
        IReadOnlyList<PackedRow> packs = RowPacker.Pack(rows, 16);
        TrainingOptions options = new() { BatchSize = packs.Count, MaxSteps = 1, Shuffle = false, LearningRate = 1e-2 };
        StepResult packed = Train(packs, options), plain = Train(PackedRow.Single([.. packs.SelectMany(p => p.Rows)]), options with { BatchSize = rows.Length });
        Assert.Equal(plain.Loss, packed.Loss, 1e-6);
        Assert.Equal(plain.GradientNorm, packed.GradientNorm, 1e-5);
        Assert.Equal((rows.Sum(r => r.InputIds.Length), rows.Sum(r => r.TrainedTokens)), (packed.InputTokens, packed.Tokens));
        Assert.Equal(packs.Count * packs.Max(p => p.Length), packed.PaddedTokens);
        Assert.Equal(12 * 7, plain.PaddedTokens);

        StepResult Train(IReadOnlyList<PackedRow> data, TrainingOptions settings)
        {
            using ReferenceBackend backend = new();
            using CausalLM model = CausalLM.Load(folder, backend);
            AdapterFile.Load(Path.Combine(folder, "adapter_trained"), model, trainable: true);
            using LoraTrainer trainer = new(model, data, settings);
            return trainer.Step();
        }
    }
}

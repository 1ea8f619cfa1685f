using LoraNet.Models;

namespace LoraNet.Tests.Models;

/// <summary>Expected frequencies were worked out in double precision from the published formulas, apart from this code.</summary>
public class RopeTableTests
{
    private static void Equal(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        // A handful of roundings to binary32, each 6e-8.
        for (int i = 0; i < expected.Length; i++) Assert.InRange(Math.Abs(actual[i] / expected[i] - 1), 0, 5e-7);
    }

    private static RopeTable Table(RopeScaling rope, int headDim, int max = 100, int positions = 4, int? length = null) => RopeTable.Create(rope, headDim, max, positions, length);

    [Fact]
    public void Default_frequencies_are_powers_of_the_base() => Equal([1, 0.1, 0.01, 0.001], Table(new(), 8).InverseFrequencies);

    [Fact]
    public void Only_the_given_share_of_a_head_is_rotated()
    {
        RopeTable table = Table(new() { PartialRotaryFactor = 0.5 }, 16);
        Equal([1, 0.1, 0.01, 0.001], table.InverseFrequencies);
        Assert.Equal(4, table.Columns);
    }

    [Fact]
    public void Linear_divides_by_the_factor() => Equal([0.25, 0.025, 0.0025, 0.00025], Table(new() { Kind = RopeKind.Linear, Factor = 4 }, 8).InverseFrequencies);

    [Fact]
    public void Dynamic_raises_the_base_beyond_the_context_length()
    {
        RopeScaling rope = new() { Kind = RopeKind.Dynamic, Factor = 2 };
        Equal([1, 0.1, 0.01, 0.001], Table(rope, 8, max: 100, length: 100).InverseFrequencies);
        // base · (2·200/100 − 1)^(8/6) = 43267.487
        Equal([1, 0.06933612743506347, 0.004807498567691361, 1.0 / 3000], Table(rope, 8, max: 100, length: 200).InverseFrequencies);
        Assert.Equal((0, 0, 200), (rope.Regime(5, 100), rope.Regime(100, 100), rope.Regime(200, 100)));
    }

    [Fact]
    public void Llama3_keeps_blends_and_divides()
    {
        RopeScaling rope = new() { Kind = RopeKind.Llama3, Theta = 500000, Factor = 8, LowFreqFactor = 1, HighFreqFactor = 4, OriginalMaxPositionEmbeddings = 8192 };
        float[] f = Table(rope, 128).InverseFrequencies;
        Assert.Equal(1f, f[0]);
        // Indices 24 to 28 are kept, 29 to 34 blended, from 35 on divided (Llama 3.1 8B).
        Equal([0.007292664737217109, 0.005940730375674967, 0.004839421345719893, 0.003942276030116656, 0.003211445994752591, 0.002166570763503359, 0.0013718935677611381,
            0.0008567514129196321, 0.0005248461609929547, 0.00031269375038406517, 0.0001785078127679964, 9.556212353964683e-05, 7.78465527393245e-05], f[24..37]);
    }

    [Fact]
    public void Yarn_ramps_between_the_two_and_recommends_an_attention_factor()
    {
        RopeScaling rope = new() { Kind = RopeKind.Yarn, Factor = 4, OriginalMaxPositionEmbeddings = 2048 };
        RopeTable table = Table(rope, 16, max: 8192);
        // The ramp runs from dimension 2 to 6.
        Equal([1, 0.31622776601683794, 0.1, 0.02569350598886808, 0.00625, 0.001383496476323666, 0.00025, 7.905694150420948e-05], table.InverseFrequencies);
        Assert.Equal(1.138629436111989, table.AttentionFactor, 1e-7);
        Equal([1, 0.31622776601683794, 0.1, 0.023870192321736323, 0.005056971521129435, 0.000811290381701431, 0.00025, 7.905694150420948e-05],
            Table(rope with { Truncate = false }, 16, max: 8192).InverseFrequencies);
        // Without a factor, the ratio of the lengths: 8192 / 2048.
        Assert.Equal(table.InverseFrequencies, Table(rope with { Factor = null }, 16, max: 8192).InverseFrequencies);
        Assert.Equal(0.5f, Table(rope with { AttentionFactor = 0.5 }, 16).AttentionFactor);
        Assert.Equal(0.9210423553163399, Table(rope with { Factor = 40, Mscale = 0.707, MscaleAllDim = 1 }, 16).AttentionFactor, 1e-7);
    }

    [Fact]
    public void LongRope_takes_the_list_for_the_length()
    {
        RopeScaling rope = new() { Kind = RopeKind.LongRope, OriginalMaxPositionEmbeddings = 4096, ShortFactor = [1, 1, 1, 1], LongFactor = [2.5, 2.5, 2.5, 2.5] };
        RopeTable brief = Table(rope, 8, max: 131072, length: 4096), longer = Table(rope, 8, max: 131072, length: 4097);
        Equal([1, 0.1, 0.01, 0.001], brief.InverseFrequencies);
        Equal([0.4, 0.04, 0.004, 0.0004], longer.InverseFrequencies);
        // √(1 + ln 32 / ln 4096), whatever the length.
        Assert.Equal(1.1902380714238083, brief.AttentionFactor, 1e-7);
        Assert.Equal(brief.AttentionFactor, longer.AttentionFactor);
        Assert.Equal((0, 1), (rope.Regime(4096, 131072), rope.Regime(4097, 131072)));
    }

    [Fact]
    public void Tables_hold_cosines_and_sines_of_rounded_angles_times_the_factor()
    {
        RopeScaling rope = new() { Kind = RopeKind.Yarn, Factor = 1, AttentionFactor = 2, OriginalMaxPositionEmbeddings = 2048 };
        RopeTable table = Table(rope, 8, positions: 3000);
        Assert.Equal((3000, 4, 12000), (table.Positions, table.Columns, table.Cos.Length));
        Assert.Equal((2f, 0f), (table.Cos[0], table.Sin[0]));
        for (int p = 0; p < 3000; p += 37)
        {
            for (int i = 0; i < 4; i++)
            {
                double angle = (float)(p * (double)table.InverseFrequencies[i]);
                Assert.Equal(2 * Math.Cos(angle), table.Cos[p * 4 + i], 3e-7);
                Assert.Equal(2 * Math.Sin(angle), table.Sin[p * 4 + i], 3e-7);
            }
        }
    }

    [Fact]
    public void An_empty_table_is_allowed() => Assert.Empty(Table(new(), 8, positions: 0).Cos);
}

using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;

namespace LoraNet.Cuda.Tests.Ptx;

public sealed class AttentionTilesTests
{
    [Theory]
    [InlineData(64)]
    [InlineData(192)]
    public void TilesCoverEverySegmentOnceHeaviestFirst(int rows)
    {
        int[] offsets = [0, 300, 301, 338, 850, 1000];
        foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
        {
            AttentionTiles.Tile[] tiles = AttentionTiles.Packed(offsets, rows, pass);
            int[] covered = new int[1000];
            foreach (AttentionTiles.Tile t in tiles)
            {
                Assert.Contains(t.KeyStart, offsets);
                Assert.Equal(0, (t.Row - t.KeyStart) % rows);
                for (int r = t.Row; r < Math.Min(t.Row + rows, t.End); r++) covered[r]++;
            }
            Assert.All(covered, c => Assert.Equal(1, c));
            int[] work = [.. tiles.Select(t => pass == AttentionPass.KeyGradient ? t.End - t.Row : Math.Min(t.Row + rows, t.End) - t.KeyStart)];
            Assert.Equal(work.OrderDescending(), work);
        }
    }

    [Fact]
    public void CachedTilesSeeTheCacheAndThemselves()
    {
        AttentionTiles.Tile t = Assert.Single(AttentionTiles.Cached(3, 10, 100, 50, 64));
        Assert.Equal(new AttentionTiles.Tile(3, 100, 10, 147), t);
        Assert.Equal(100 + 50, t.Row + t.Shift); // the first new row is the key after the 50 cached ones
    }

    [Fact]
    public void PaddingAddsEmptyTiles()
    {
        AttentionTiles.Tile[] tiles = AttentionTiles.Packed([0, 100], 64, AttentionPass.Forward), padded = AttentionTiles.Pad(tiles, 5);
        Assert.Equal(tiles, padded[..2]);
        Assert.All(padded[2..], t => Assert.Equal(0, t.End));
        Assert.Throws<ArgumentException>(() => AttentionTiles.Pad(tiles, 1));
    }

    [Fact]
    public void EveryHeadSizeHasAKernelOnItsTargets()
    {
        for (int d = 16; d <= 256; d += 16)
            foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
            {
                foreach (PtxArch arch in (PtxArch[])[PtxArch.Sm80, PtxArch.Sm86, PtxArch.Sm89, PtxArch.Sm90a])
                    Assert.True(new AttentionMmaSpec(arch, pass, PtxType.BF16, d, true, true).Supported, $"{arch} {pass} {d}");
                Assert.Equal(d <= 240 || pass == AttentionPass.Forward, new AttentionMmaSpec(PtxArch.Sm75, pass, PtxType.F16, d, false, false).Supported);
            }
        Assert.False(new AttentionMmaSpec(PtxArch.Sm75, AttentionPass.Forward, PtxType.BF16, 64, false, false).Supported);
        Assert.False(new AttentionMmaSpec(PtxArch.Sm80, AttentionPass.Forward, PtxType.BF16, 72, false, false).Supported);
    }
}

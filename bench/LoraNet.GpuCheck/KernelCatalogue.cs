using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.GpuCheck;

/// <summary>A representative list of kernel specialisations for every target, for assembling their texts with ptxas.</summary>
internal static class KernelCatalogue
{
    public static IEnumerable<IKernelSpec> All() => Gemm().Concat(Attention());

    public static IEnumerable<IKernelSpec> Attention()
    {
        foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
            foreach (int d in (int[])[64, 128])
                foreach (PtxType type in (PtxType[])[PtxType.BF16, PtxType.F16]) yield return new AttentionWgmmaSpec(pass, type, d);
        foreach (PtxArch arch in Enum.GetValues<PtxArch>())
            foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
                foreach (int d in (int[])[16, 64, 80, 96, 128, 240, 256])
                    foreach ((bool window, bool cap) in ((bool, bool)[])[(false, false), (true, true), (true, false)])
                        foreach (PtxType type in (PtxType[])[PtxType.BF16, PtxType.F16])
                        {
                            AttentionMmaSpec spec = new(arch, pass, type, d, window, cap);
                            if (spec.Supported && (type == PtxType.BF16 || arch == PtxArch.Sm75 || d == 64)) yield return spec;
                        }
    }

    public static IEnumerable<IKernelSpec> Gemm()
    {
        GemmLayout[] layouts = [GemmLayout.NT, GemmLayout.NN, GemmLayout.TN];
        foreach (PtxArch arch in Enum.GetValues<PtxArch>())
        {
            PtxType half = arch == PtxArch.Sm75 ? PtxType.F16 : PtxType.BF16;
            foreach (GemmLayout layout in layouts)
            {
                yield return new GemmSimtSpec(arch, layout, false, new(PtxType.F32, PtxType.F32, true, true, false));
                yield return new GemmSimtSpec(arch, layout, true, new(PtxType.BF16, PtxType.BF16, true, true, false));
                foreach ((int m, int n) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                {
                    yield return new GemmMmaSpec(arch, layout, m, n, false, new(half, half, false, false, false));
                    yield return new GemmMmaSpec(arch, layout, m, n, true, new(half, half, true, true, false));
                    yield return new GemmMmaSpec(arch, layout, m, n, false, new(half, PtxType.F32, false, true, false));
                    yield return new GemmMmaSpec(arch, layout, m, n, true, new(half, half, true, true, true));
                }
            }
            foreach (GemmLayout layout in layouts)
                foreach ((int m, int n) in arch.IsAmpere() ? ((int, int)[])[(128, 128), (64, 128), (64, 64)] : [])
                {
                    yield return new GemmMmaSpec(arch, layout, m, n, false, new(PtxType.F32, PtxType.F32, false, false, false));
                    yield return new GemmMmaSpec(arch, layout, m, n, true, new(PtxType.F32, PtxType.F32, true, true, false) { Single = n == 64 });
                    yield return new GemmMmaSpec(arch, layout, m, n, true, new(PtxType.F32, PtxType.F32, true, true, true));
                }
            foreach (GemmLayout layout in layouts)
                yield return new GemmMmaSpec(arch, layout, 128, 128, true, new(half, half, true, true, false) { Single = true }, Ragged: arch == PtxArch.Sm75);
            yield return new GemmSimtSpec(arch, GemmLayout.TN, false, new(PtxType.F32, PtxType.F32, false, false, true));
            foreach ((bool tall, int blocks) in ((bool, int)[])[(false, 1), (false, 2), (true, 1), (true, 2)])
                yield return new GemmFewRowsSpec(arch, tall, blocks, blocks == 1, new(half, half, blocks == 1, true, false));
            foreach (int m in (int[])[1, 2])
            {
                yield return new GemvSpec(arch, m, false, new(half, half, false, false, false));
                for (int parts = 2; parts <= GemvSpec.MaxParts; parts++)
                    yield return new GemvSpec(arch, m, false, new(half, half, parts == 2, false, false)) { Parts = parts };
                yield return new GemvSpec(arch, m, true, new(half, half, true, true, false));
            }
            yield return new GemmReduceSpec(arch, new(half, half, true, true, false));
            yield return new GemmReduceSpec(arch, new(PtxType.F32, PtxType.F32, true, true, false));
            yield return new GemmReduceSpec(arch, new(half, PtxType.F32, false, true, false));
        }
        foreach (GemmLayout layout in layouts)
            foreach (int n in (int[])[64, 128, 256])
                foreach (GemmEpilogue e in (GemmEpilogue[])[
                    new(PtxType.BF16, PtxType.BF16, false, false, false), new(PtxType.BF16, PtxType.BF16, true, true, false), new(PtxType.F16, PtxType.F16, true, true, false),
                    new(PtxType.BF16, PtxType.F32, false, true, false), new(PtxType.BF16, PtxType.F32, true, true, true)])
                    foreach (int lr in layout == GemmLayout.TN ? (int[])[0] : e.Bias ? [0, 1, 2, 4] : [0])
                        if (!(e.Split && lr is 1 or 2)) yield return new GemmWgmmaSpec(layout, n, lr, true, e);
        yield return new GemmWgmmaSpec(GemmLayout.NT, 256, 0, false, new(PtxType.BF16, PtxType.BF16, true, true, false) { Single = true });
        yield return new GemmWgmmaSpec(GemmLayout.NT, 256, 1, false, new(PtxType.BF16, PtxType.BF16, true, true, false));
    }
}

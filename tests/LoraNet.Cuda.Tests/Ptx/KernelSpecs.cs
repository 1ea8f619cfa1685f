using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.Cuda.Tests.Ptx;

/// <summary>Kernel specialisations of every family and target, small enough to write in a test.</summary>
internal static class KernelSpecs
{
    public static IEnumerable<(PtxArch Arch, IKernelSpec Spec)> All()
    {
        foreach (PtxArch arch in Enum.GetValues<PtxArch>())
        {
            PtxType half = arch == PtxArch.Sm75 ? PtxType.F16 : PtxType.BF16;
            foreach (GemmLayout layout in Enum.GetValues<GemmLayout>())
            {
                yield return (arch, new GemmSimtSpec(arch, layout, true, new(PtxType.F32, PtxType.F32, true, true, false)));
                yield return (arch, new GemmMmaSpec(arch, layout, 128, 128, true, new(half, half, true, true, false)));
                yield return (arch, new GemmMmaSpec(arch, layout, 64, 64, false, new(half, PtxType.F32, false, true, true)));
            }
            foreach (GemmLayout layout in arch.IsAmpere() ? Enum.GetValues<GemmLayout>() : [])
            {
                yield return (arch, new GemmMmaSpec(arch, layout, 128, 128, true, new(PtxType.F32, PtxType.F32, true, true, false)));
                yield return (arch, new GemmMmaSpec(arch, layout, 64, 128, false, new(PtxType.F32, PtxType.F32, false, false, false) { Single = true }));
                yield return (arch, new GemmMmaSpec(arch, layout, 64, 64, false, new(PtxType.F32, PtxType.F32, false, true, true)));
            }
            if (arch == PtxArch.Sm75) yield return (arch, new GemmMmaSpec(arch, GemmLayout.NN, 128, 128, false, new(half, half, false, false, false), Ragged: true));
            yield return (arch, new GemmMmaSpec(arch, GemmLayout.NT, 64, 128, false, new(half, half, false, true, false) { Single = true }));
            yield return (arch, new GemmReduceSpec(arch, new(half, half, true, true, false)));
            yield return (arch, new GemvSpec(arch, 2, true, new(half, half, true, true, false)).For(1000, 576, 40));
            yield return (arch, new GemvSpec(arch, 1, false, new(half, half, true, false, false)) { Parts = 3 });
            foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
                foreach (int d in (int[])[64, 96, 128])
                    yield return (arch, new AttentionMmaSpec(arch, pass, half, d, d == 96, d == 96));
        }
        foreach (AttentionPass pass in Enum.GetValues<AttentionPass>())
            foreach (int d in (int[])[64, 128]) yield return (PtxArch.Sm90a, new AttentionWgmmaSpec(pass, PtxType.BF16, d));
        foreach (GemmLayout layout in Enum.GetValues<GemmLayout>())
        {
            yield return (PtxArch.Sm90a, new GemmWgmmaSpec(layout, 256, layout == GemmLayout.TN ? 0 : 1, true, new(PtxType.BF16, PtxType.BF16, true, true, false)));
            yield return (PtxArch.Sm90a, new GemmWgmmaSpec(layout, 64, 0, false, new(PtxType.F16, PtxType.F32, false, false, true)));
        }
    }
}

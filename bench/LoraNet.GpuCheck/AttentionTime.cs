using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;

namespace LoraNet.GpuCheck;

/// <summary>Times of the attention kernels at 32 query and 8 key heads. FLOPs: forward 2 S² d a head, backward 2.5 times that.</summary>
internal static class AttentionTime
{
    public static void Run()
    {
        AttentionRunner runner = new(GpuRun.Cache);
        foreach (int d in (int[])[64, 128])
            foreach ((int batch, int length) in ((int, int)[])[(4, 2048), (2, 4096), (1, 8192), (8, 512)])
            {
                using AttentionProblem p = new([.. Enumerable.Range(0, batch + 1).Select(i => i * length)], 32, 8, d, PtxType.BF16);
                foreach (bool wgmma in batch == 4 ? (bool[])[true, false] : [true])
                    GpuRun.Guard($"d{d} {batch}x{length}", () =>
                    {
                        double[] ms = new double[3];
                        for (int i = 0; i < 3; i++)
                        {
                            AttentionPass pass = (AttentionPass)i;
                            IKernelSpec spec = wgmma ? AttentionRunner.Choose(GpuRun.Cache.Device.Arch, pass, p.Args)! : new AttentionMmaSpec(PtxArch.Sm80, pass, PtxType.BF16, d, false, false);
                            AttentionTiles.Tile[] tiles = AttentionTiles.Packed(p.Offsets, AttentionRunner.TileRows(spec), pass);
                            using DeviceBuffer list = DeviceBuffer.From<AttentionTiles.Tile>(tiles);
                            ms[i] = GpuRun.TimeGraph(_ => runner.Run(spec, p.Args, list.Pointer, tiles.Length, GpuRun.Stream), 10);
                        }
                        double flop = 2.0 * length * length * d * 32 * batch;
                        Console.WriteLine($"d{d} {batch}x{length} {(wgmma ? "wgmma" : "mma  ")} fwd {ms[0] * 1e3,6:F0} us ({flop / ms[0] / 1e9:F0} TFLOP/s)  dq {ms[1] * 1e3,6:F0}  dkv {ms[2] * 1e3,6:F0}  bwd {(ms[1] + ms[2]) * 1e3,6:F0} us ({2.5 * flop / (ms[1] + ms[2]) / 1e9:F0} TFLOP/s)");
                    });
            }
    }
}

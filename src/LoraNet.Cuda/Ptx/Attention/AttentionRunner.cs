using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>Launches attention kernels. Never synchronises and never allocates, so that it may be captured into a graph.</summary>
internal sealed class AttentionRunner(PtxModuleCache cache)
{
    /// <summary>The kernel for one pass on a target, or null where none fits (the plain kernel must do).</summary>
    /// <param name="arch">Target.</param>
    /// <param name="pass">Pass.</param>
    /// <param name="args">The problem; only its type, head size, window and soft cap matter.</param>
    /// <param name="shifted">Whether the tiles have a shift (cached keys).</param>
    public static IKernelSpec? Choose(PtxArch arch, AttentionPass pass, in AttentionArgs args, bool shifted = false)
    {
        AttentionWgmmaSpec wgmma = new(pass, args.Type, args.D);
        if (arch == PtxArch.Sm90a && wgmma.Supported && args.Window == 0 && args.SoftCap == 0 && !shifted) return wgmma;
        AttentionMmaSpec mma = new(arch, pass, args.Type, args.D, args.Window > 0, args.SoftCap > 0);
        return mma.Supported ? mma : null;
    }

    /// <summary>Rows of one tile of a kernel from <see cref="Choose"/>, for <see cref="AttentionTiles"/>.</summary>
    public static int TileRows(IKernelSpec spec) => spec is AttentionWgmmaSpec wgmma ? wgmma.TileRows : ((AttentionMmaSpec)spec).TileRows;

    /// <summary>Launches one pass. Order: forward; query gradient (writes delta); key gradient.</summary>
    /// <param name="spec">Kernel from <see cref="Choose"/>.</param>
    /// <param name="args">The problem.</param>
    /// <param name="tiles">Device address of the tile list made for this kernel's tile rows.</param>
    /// <param name="count">Its entries.</param>
    /// <param name="stream">Stream handle.</param>
    public void Run(IKernelSpec spec, in AttentionArgs args, ulong tiles, int count, nint stream)
    {
        if (args.Heads % args.KvHeads != 0) throw new ArgumentException($"{args.Heads} query heads do not divide into {args.KvHeads} groups.");
        if (count == 0) return;
        if (spec is AttentionWgmmaSpec wgmma) RunWgmma(wgmma, args, tiles, count, stream);
        else RunMma((AttentionMmaSpec)spec, args, tiles, count, stream);
    }

    private void RunWgmma(AttentionWgmmaSpec spec, in AttentionArgs a, ulong tiles, int count, nint stream)
    {
        bool keys = spec.Pass == AttentionPass.KeyGradient;
        int own = 64, q = keys ? spec.Loop : own, kv = keys ? own : spec.Loop, heads = keys ? a.KvHeads : a.Heads;
        KernelArgs k = default;
        k.Add(TensorMap.Encode(a.Type, a.Q, a.Rows, a.Heads * a.D, a.Ldq, q));
        if (spec.Pass != AttentionPass.Forward) k.Add(TensorMap.Encode(a.Type, a.DO, a.Rows, a.Heads * a.D, a.Lddo, q));
        k.Add(TensorMap.Encode(a.Type, a.K, a.KeyRows, a.KvHeads * a.D, a.Ldk, kv));
        k.Add(TensorMap.Encode(a.Type, a.V, a.KeyRows, a.KvHeads * a.D, a.Ldv, kv));
        switch (spec.Pass)
        {
            case AttentionPass.Forward:
                k.Add(a.O);
                k.Add(a.Lse);
                k.Add(tiles);
                k.Add(a.Ldo);
                break;
            case AttentionPass.QueryGradient:
                k.Add(a.DQ);
                k.Add(a.Lse);
                k.Add(a.Delta);
                k.Add(tiles);
                k.Add(a.O);
                k.Add(a.DO);
                k.Add(a.Lddq);
                break;
            default:
                k.Add(a.DK);
                k.Add(a.DV);
                k.Add(a.Lse);
                k.Add(a.Delta);
                k.Add(tiles);
                k.Add(a.Lddk);
                k.Add(a.Lddv);
                break;
        }
        k.Add(a.LsePitch);
        k.Add(a.Heads / a.KvHeads);
        k.Add(heads);
        k.Add(count);
        if (spec.Pass == AttentionPass.QueryGradient)
        {
            k.Add(a.Ldo);
            k.Add(a.Lddo);
        }
        k.Add(a.Scale);
        cache.Get(spec).Launch(stream, Math.Min(cache.Device.Multiprocessors, (long)count * heads), 1, ref k);
    }

    private void RunMma(AttentionMmaSpec spec, in AttentionArgs a, ulong tiles, int count, nint stream)
    {
        bool keys = spec.Pass == AttentionPass.KeyGradient;
        KernelArgs k = default;
        k.Add(a.Q);
        k.Add(a.K);
        k.Add(a.V);
        k.Add(a.O);
        k.Add(a.DO);
        k.Add(a.Lse);
        k.Add(a.Delta);
        k.Add(keys ? a.DK : a.DQ);
        k.Add(a.DV);
        k.Add(tiles);
        k.Add(a.Ldq);
        k.Add(a.Ldk);
        k.Add(a.Ldv);
        k.Add(a.Ldo);
        k.Add(a.Lddo);
        k.Add(keys ? a.Lddk : a.Lddq);
        k.Add(a.Lddv);
        k.Add(a.LsePitch);
        k.Add(a.Heads / a.KvHeads);
        k.Add(a.KvHeads);
        k.Add(a.Window);
        k.Add(a.Scale);
        k.Add(a.SoftCap);
        cache.Get(spec).Launch(stream, keys ? a.KvHeads * spec.Parts : a.Heads, count, ref k);
    }
}

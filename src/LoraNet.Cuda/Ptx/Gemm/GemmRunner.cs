using System.Collections.Concurrent;
using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>Plans and launches products. Never synchronises and never allocates on the device, so that it may be captured into a graph.</summary>
internal sealed class GemmRunner(PtxModuleCache cache)
{
    private readonly PtxArch _arch = cache.Device.Arch;
    private readonly ConcurrentDictionary<(GemmArgs, long), GemmPlan> _plans = new();

    /// <summary>The plan for a product, given the workspace that is there.</summary>
    public GemmPlan Plan(in GemmArgs args, long workspaceBytes)
    {
        // A plan depends on shapes, types and alignment, not on where the buffers are.
        GemmArgs key = args with { A = Kind(args.A), B = Kind(args.B), C = Kind(args.C), P = Kind(args.P), L = Kind(args.L), Bias = Kind(args.Bias), Addend = Kind(args.Addend), Alpha = 1 };
        if (_plans.TryGetValue((key, workspaceBytes), out GemmPlan plan)) return plan;
        plan = GemmPlanner.Plan(key, _arch, cache.Device.Multiprocessors, workspaceBytes);
        _plans[(key, workspaceBytes)] = plan;
        return plan;

        static ulong Kind(ulong address) => (address & 15) | (address == 0 ? 0UL : 16);
    }

    /// <summary>The kernels that <see cref="Run(in GemmArgs, nint, ulong, long)"/> would use, for <see cref="PtxModuleCache.Prefetch"/>.</summary>
    public IEnumerable<IKernelSpec> Kernels(in GemmArgs args, long workspaceBytes)
    {
        GemmPlan plan = Plan(args, workspaceBytes);
        return plan.Reduce is null ? [plan.Kernel] : [plan.Kernel, plan.Reduce];
    }

    /// <summary>Launches a product on <paramref name="stream"/>.</summary>
    /// <param name="args">The product.</param>
    /// <param name="stream">Stream handle.</param>
    /// <param name="workspace">Scratch memory that no other stream uses meanwhile; only its size decides whether sums may be split.</param>
    /// <param name="workspaceBytes">Its size.</param>
    public void Run(in GemmArgs args, nint stream, ulong workspace, long workspaceBytes) => Run(args, Plan(args, workspaceBytes), stream, workspace);

    /// <summary>Launches a product with a plan made before.</summary>
    public void Run(in GemmArgs args, in GemmPlan plan, nint stream, ulong workspace)
    {
        CudaKernel kernel = cache.Get(plan.Kernel);
        bool split = plan.Reduce is not null;
        int tiles = Ceil(args.M, plan.TileM) * Ceil(args.N, plan.TileN);
        KernelArgs k = default;
        if (plan.Kernel is GemmWgmmaSpec wgmma)
        {
            AddMaps(ref k, args, wgmma);
            AddCommon(ref k, args, plan, split ? workspace : args.C);
            k.Add(plan.Splits);
            kernel.Launch(stream, Math.Min(cache.Device.Multiprocessors, tiles * plan.Splits), 1, ref k);
        }
        else
        {
            AddPlain(ref k, args);
            AddCommon(ref k, args, plan, split ? workspace : args.C);
            kernel.Launch(stream, plan.Kernel is GemvSpec gemv ? gemv.Blocks(args.N, cache.Device.Multiprocessors) : tiles, plan.Splits, ref k);
        }
        if (plan.Reduce is null) return;
        KernelArgs r = default;
        r.Add(workspace);
        r.Add(args.C);
        r.Add(args.Bias);
        r.Add(args.Addend);
        r.Add(GemmPlan.PartialPitch(args.N));
        r.Add(args.Ldc);
        r.Add(args.LdAddend);
        r.Add(args.M);
        r.Add(args.N);
        r.Add(plan.Splits);
        r.Add(args.Alpha);
        cache.Get(plan.Reduce).Launch(stream, Ceil(checked(args.M * args.N), GemmReduceSpec.Threads), 1, ref r);
    }

    /// <summary>The one kernel for several products of the same A, or null when each needs its own.</summary>
    public GemvSpec? Together(ReadOnlySpan<GemmArgs> parts, long workspaceBytes)
    {
        if (parts.Length is < 2 or > GemvSpec.MaxParts || Plan(parts[0], workspaceBytes).Kernel is not GemvSpec { LowRank: false, Epilogue.Addend: false } first) return null;
        int rows = parts[0].N;
        foreach (ref readonly GemmArgs part in parts[1..])
        {
            if (part.A != parts[0].A || part.K != parts[0].K || part.Alpha != parts[0].Alpha || part.Ldc != part.N || Plan(part, workspaceBytes).Kernel is not GemvSpec other) return null;
            if (other.Epilogue != first.Epilogue || other.LowRank) return null;
            rows += part.N;
        }
        return (first with { Parts = parts.Length }).For(rows, parts[0].K, cache.Device.Multiprocessors);
    }

    /// <summary>Launches several products of the same A with the kernel that <see cref="Together"/> gave.</summary>
    public void Run(ReadOnlySpan<GemmArgs> parts, GemvSpec kernel, nint stream)
    {
        GemmArgs first = parts[0];
        KernelArgs k = default;
        AddPlain(ref k, first);
        AddCommon(ref k, first, default, first.C);
        int rows = first.N;
        foreach (ref readonly GemmArgs part in parts[1..])
        {
            k.Add(part.B);
            k.Add(part.C);
            k.Add(part.Bias);
            k.Add(part.N);
            rows += part.N;
        }
        cache.Get(kernel).Launch(stream, kernel.Blocks(rows, cache.Device.Multiprocessors), 1, ref k);
    }

    private static int Ceil(int a, int b) => (a + b - 1) / b;

    private static void AddPlain(ref KernelArgs k, in GemmArgs args)
    {
        k.Add(args.A);
        k.Add(args.B);
        k.Add(args.P);
        k.Add(args.L);
        k.Add(args.Lda);
        k.Add(args.Ldb);
        k.Add(args.Ldp);
        k.Add(args.Ldl);
    }

    private static void AddCommon(ref KernelArgs k, in GemmArgs args, in GemmPlan plan, ulong c)
    {
        k.Add(c);
        k.Add(args.Bias);
        k.Add(args.Addend);
        k.Add(plan.Reduce is null ? args.Ldc : GemmPlan.PartialPitch(args.N));
        k.Add(args.LdAddend);
        k.Add(args.M);
        k.Add(args.N);
        k.Add(args.K);
        k.Add(args.R);
        k.Add(plan.TilesPerSplit);
        k.Add(plan.Group);
        k.Add(args.Alpha);
    }

    private static void AddMaps(ref KernelArgs k, in GemmArgs a, GemmWgmmaSpec spec)
    {
        bool ta = a.Layout == GemmLayout.TN, tb = a.Layout != GemmLayout.NT;
        TensorMap mapA = ta ? TensorMap.Encode(a.In, a.A, a.K, a.M, a.Lda, 64) : TensorMap.Encode(a.In, a.A, a.M, a.K, a.Lda, GemmWgmmaSpec.TileM);
        TensorMap mapB = tb ? TensorMap.Encode(a.In, a.B, a.K, a.N, a.Ldb, 64) : TensorMap.Encode(a.In, a.B, a.N, a.K, a.Ldb, spec.TileN);
        bool staged = spec.Staged;
        TensorMap mapC = staged ? TensorMap.Encode(a.Out, a.C, a.M, a.N, a.Ldc, 64) : mapA; // unused maps need only be valid
        TensorMap mapP = a.R > 0 ? TensorMap.Encode(a.In, a.P, a.M, a.R, a.Ldp, GemmWgmmaSpec.TileM) : mapA;
        TensorMap mapL = a.R == 0 ? mapB : tb ? TensorMap.Encode(a.In, a.L, a.R, a.N, a.Ldl, 64) : TensorMap.Encode(a.In, a.L, a.N, a.R, a.Ldl, spec.TileN);
        TensorMap mapAdd = staged && a.Addend != 0 ? TensorMap.Encode(a.Out, a.Addend, a.M, a.N, a.LdAddend, 64) : mapA;
        k.Add(mapA);
        k.Add(mapB);
        k.Add(mapC);
        k.Add(mapP);
        k.Add(mapL);
        k.Add(mapAdd);
    }
}

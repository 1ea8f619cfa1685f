namespace LoraNet.Cuda.Ptx;

/// <summary>
/// Text shared by the sm_90a kernels: barriers in shared memory, copies by the tensor engine, warpgroup products.
/// Sources: PTX ISA manual, sections on mbarrier, cp.async.bulk.tensor, wgmma and its matrix descriptors.
/// </summary>
internal static class Hopper
{
    /// <summary>Descriptor of rows of 64 k (128 bytes), 128-byte swizzle: eight rows every 1024 bytes. Step per k16: +2.</summary>
    public const ulong AlongK = 0x4000004000010000;

    /// <summary>Most dynamic shared memory of one block, bytes.</summary>
    public const int SharedBytes = 227 * 1024;

    private const string Copy2D = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes";

    /// <summary>Descriptor of an operand stored across K: chunks of 64 columns side by side, each [<paramref name="rows"/> k][64] of 128-byte rows. Step per k16: +128.</summary>
    public static ulong AcrossK(int rows) => 0x4000004000000000 | ((ulong)(rows * 8) << 16);

    /// <summary>
    /// Thread numbering of a kernel made of one producer warpgroup (0) and consumers: tid, lane, warp and wg, the latter two broadcast from lane 0 so that the compiler
    /// knows them to be uniform (otherwise descriptors live in vector registers and each product pays for moving them). sb: the 1024-aligned start of shared memory.
    /// </summary>
    public static void Threads(PtxWriter k)
    {
        k.Reg("b32", "tid lane warp wg sb");
        k.L("mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; shr.u32 wg, tid, 7; shfl.sync.idx.b32 warp, warp, 0, 31, 0xffffffff; shfl.sync.idx.b32 wg, wg, 0, 31, 0xffffffff; mov.u32 sb, smem; add.u32 sb, sb, 1023; and.b32 sb, sb, 0xfffffc00;");
    }

    /// <summary>Initialises barriers (offset from sb, arrivals that complete a phase) by thread 0 and synchronises the block.</summary>
    public static void InitBarriers(PtxWriter k, params IEnumerable<(int Offset, int Arrivals)> barriers)
    {
        k.Reg("pred", "h_p");
        k.L("setp.ne.u32 h_p, tid, 0; @h_p bra INITIALISED;");
        foreach ((int offset, int arrivals) in barriers) k.L($"mbarrier.init.shared::cta.b64 [sb+{offset}], {arrivals};");
        k.L("fence.mbarrier_init.release.cluster; fence.proxy.async;\nINITIALISED: bar.sync 0;");
    }

    /// <summary>Waits until the phase with this parity is complete.</summary>
    public static void Wait(PtxWriter k, string address, string parity)
    {
        string label = k.Label("WAIT");
        k.Reg("pred", "h_w");
        k.L($"{label}: mbarrier.try_wait.parity.shared::cta.b64 h_w, [{address}], {parity}; @!h_w bra {label};");
    }

    /// <summary>Arrives once, and announces the bytes that the copy engine will deliver.</summary>
    public static void Expect(PtxWriter k, string barrier, int bytes) => k.L($"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{barrier}], {bytes};");

    /// <summary>Starts a copy of one box into shared memory.</summary>
    public static void Load(PtxWriter k, string destination, string map, string column, string row, string barrier) =>
        k.L($"{Copy2D} [{destination}], [{map}, {{{column}, {row}}}], [{barrier}];");

    /// <summary>descriptor = constant | address field. The mask matters: shared addresses can carry more than 18 bits.</summary>
    public static void Descriptor(PtxWriter k, string descriptor, string address, ulong constant)
    {
        k.Reg("b32", "h_x");
        k.Reg("b64", descriptor);
        k.L($"and.b32 h_x, {address}, 0x3ffff; shr.u32 h_x, h_x, 4; cvt.u64.u32 {descriptor}, h_x; or.b64 {descriptor}, {descriptor}, 0x{constant:x};");
    }

    /// <summary>One 64 x n x 16 product with both operands in shared memory. <paramref name="accumulate"/>: a predicate (false overwrites) or 1.</summary>
    public static void Wgmma(PtxWriter k, PtxType type, int n, string accumulators, string a, string b, string accumulate, bool transposeA, bool transposeB) =>
        k.L($"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{type.Name()}.{type.Name()} {accumulators}, {a}, {b}, {accumulate}, 1, 1, {(transposeA ? 1 : 0)}, {(transposeB ? 1 : 0)};");

    /// <summary>One 64 x n x 16 product with A in registers (a fragment of four).</summary>
    public static void WgmmaRegister(PtxWriter k, PtxType type, int n, string accumulators, string a, string b, bool transposeB) =>
        k.L($"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{type.Name()}.{type.Name()} {accumulators}, {a}, {b}, 1, 1, 1, {(transposeB ? 1 : 0)};");

    /// <summary>Orders register and shared-memory writes before the products that follow.</summary>
    public static void Fence(PtxWriter k) => k.L("wgmma.fence.sync.aligned;");

    /// <summary>Closes a group of products.</summary>
    public static void Commit(PtxWriter k) => k.L("wgmma.commit_group.sync.aligned;");

    /// <summary>Waits until at most <paramref name="open"/> groups are unfinished.</summary>
    public static void WaitGroup(PtxWriter k, int open) => k.L($"wgmma.wait_group.sync.aligned {open};");

    /// <summary>stage = (stage + 1) % stages; phase flips on wrap.</summary>
    public static void Advance(PtxWriter k, string stage, string phase, int stages)
    {
        k.Reg("pred", "h_p");
        k.Reg("b32", "h_x");
        k.L($"add.u32 {stage}, {stage}, 1; setp.eq.u32 h_p, {stage}, {stages}; selp.b32 {stage}, 0, {stage}, h_p; selp.b32 h_x, 1, 0, h_p; xor.b32 {phase}, {phase}, h_x;");
    }
}

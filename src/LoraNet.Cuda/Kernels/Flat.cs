using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Walks over all elements of tensors of one shape, a pack a step; any grid and group size covers everything.</summary>
internal static class Flat
{
    public static long First => 4L * (Grid.IdxX * Group.DimX + Group.IdxX);

    public static long Step => 4L * Grid.DimX * Group.DimX;

    /// <summary>The same walk eight elements at a time, for the operations that take most of the time.</summary>
    public static long FirstOctet => 2 * First;

    /// <inheritdoc cref="FirstOctet"/>
    public static long OctetStep => 2 * Step;

    /// <summary>Whether octets of tensors at these addresses, or-ed, may be moved. Kernels ask once and load everything in one branch:
    /// were each load to decide for itself, it would be waited for before the next is begun.</summary>
    public static bool AllowsOctets(long addresses) => (addresses & 15) == 0;

    /// <summary>End of the elements of the thread whose first is <paramref name="i"/>.</summary>
    public static long OctetEnd(long i, long count) => i + 8 < count ? i + 8 : count;

    /// <summary>Whether whole packs may be moved: a slice of a tensor may begin at any row.</summary>
    private static bool IsAligned(long address) => (address & 7) == 0;

    public static Pack Load<T>(long address, long i, long count)
        where T : struct, IStorage
    {
        if (i + 4 <= count && IsAligned(address)) return T.LoadPack(address, i);
        Pack p = default;
        p.X = T.Load(address, i);
        if (i + 1 < count) p.Y = T.Load(address, i + 1);
        if (i + 2 < count) p.Z = T.Load(address, i + 2);
        if (i + 3 < count) p.W = T.Load(address, i + 3);
        return p;
    }

    public static void Store<T>(long address, long i, long count, Pack value)
        where T : struct, IStorage
    {
        if (i + 4 <= count && IsAligned(address))
        {
            T.StorePack(address, i, value);
            return;
        }
        T.Store(address, i, value.X);
        if (i + 1 < count) T.Store(address, i + 1, value.Y);
        if (i + 2 < count) T.Store(address, i + 2, value.Z);
        if (i + 3 < count) T.Store(address, i + 3, value.W);
    }
}

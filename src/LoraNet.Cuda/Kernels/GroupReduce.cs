using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// Sums and maxima over a thread group, returned to every thread, in an order that depends only on the group's size:
/// a butterfly inside each warp, then the warps in ascending order. <c>scratch</c> is shared memory of at least one
/// element a warp (32), allocated once by the kernel; all threads must take part.
/// </summary>
internal static class GroupReduce
{
    public static float Sum(float value, ArrayView<float> scratch)
    {
        for (int offset = Warp.WarpSize / 2; offset > 0; offset >>= 1) value += Warp.ShuffleXor(value, offset);
        if (Group.IdxX % Warp.WarpSize == 0) scratch[Group.IdxX / Warp.WarpSize] = value;
        Group.Barrier();
        float total = 0f;
        for (int w = 0; w < Group.DimX / Warp.WarpSize; w++) total += scratch[w];
        Group.Barrier();
        return total;
    }

    public static double Sum(double value, ArrayView<double> scratch)
    {
        for (int offset = Warp.WarpSize / 2; offset > 0; offset >>= 1) value += Warp.ShuffleXor(value, offset);
        if (Group.IdxX % Warp.WarpSize == 0) scratch[Group.IdxX / Warp.WarpSize] = value;
        Group.Barrier();
        double total = 0;
        for (int w = 0; w < Group.DimX / Warp.WarpSize; w++) total += scratch[w];
        Group.Barrier();
        return total;
    }

    public static float Max(float value, ArrayView<float> scratch)
    {
        for (int offset = Warp.WarpSize / 2; offset > 0; offset >>= 1) value = DeviceMath.Max(value, Warp.ShuffleXor(value, offset));
        if (Group.IdxX % Warp.WarpSize == 0) scratch[Group.IdxX / Warp.WarpSize] = value;
        Group.Barrier();
        float total = scratch[0];
        for (int w = 1; w < Group.DimX / Warp.WarpSize; w++) total = DeviceMath.Max(total, scratch[w]);
        Group.Barrier();
        return total;
    }
}

using LoraNet.Cuda.Runtime;

namespace LoraNet.Cuda;

/// <content>Grid and group sizes.</content>
public sealed partial class CudaBackend
{
    /// <summary>The y dimension of a grid is 16 bits.</summary>
    private const int MaxGridY = 65535;

    /// <summary>All elements of tensors of one shape, <paramref name="each"/> (4, or 8 where the kernel walks octets) a thread.</summary>
    private void LaunchFlat<TArgs>(CompiledKernel<TArgs> kernel, long count, in TArgs args, int each = 4)
        where TArgs : unmanaged
    {
        if (count == 0) return;
        int group = _device.PreferredGroup;
        kernel.Launch((int)Math.Min(Divide(Divide(count, each), group), _device.ManyGroups), 1, group, args);
    }

    /// <summary>Rows along grid y, <paramref name="itemsPerRow"/> threads' work along grid x.</summary>
    private void LaunchRows<TArgs>(CompiledKernel<TArgs> kernel, int rows, long itemsPerRow, in TArgs args)
        where TArgs : unmanaged
    {
        if (rows == 0 || itemsPerRow == 0) return;
        int group = RoundToWarp(itemsPerRow, _device.PreferredGroup);
        int gridX = (int)Math.Min(Divide(itemsPerRow, group), _device.ManyGroups);
        kernel.Launch(gridX, (int)Math.Min(rows, Math.Min(MaxGridY, Math.Max(_device.ManyGroups, 2))), group, args);
    }

    /// <summary>A group for each row, about <paramref name="each"/> elements a thread up to <paramref name="most"/> threads.</summary>
    private void LaunchGroupPerRow<TArgs>(CompiledKernel<TArgs> kernel, int rows, int columns, in TArgs args, int most = 512, int each = 16)
        where TArgs : unmanaged
    {
        if (rows == 0) return;
        kernel.Launch(rows, 1, RoundToWarp(Divide(columns, each), Math.Min(Math.Min(most, kernel.MaxGroup), _device.MaxGroup)), args);
    }

    /// <summary>A thread for each of <paramref name="count"/> items; the kernel strides.</summary>
    private void LaunchThreads<TArgs>(CompiledKernel<TArgs> kernel, long count, in TArgs args)
        where TArgs : unmanaged
    {
        if (count == 0) return;
        int group = _device.PreferredGroup;
        kernel.Launch((int)Math.Min(Divide(count, group), _device.ManyGroups), 1, group, args);
    }

    private int RoundToWarp(long threads, int most) =>
        (int)Math.Clamp(Divide(threads, _device.Warp) * _device.Warp, _device.Warp, most);

    private static long Divide(long a, long b) => (a + b - 1) / b;
}

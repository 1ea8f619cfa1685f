using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>
/// 16-bit copies of trained F32 parameters. Products beside 16-bit activations read LoRA's A and B rounded to that type; AdamW writes
/// the rounded copy along with each update, so that no product has to cast. Uploading, zeroing or scaling into a parameter
/// refreshes its copy.
/// </content>
public sealed partial class CudaBackend
{
    private readonly Dictionary<nint, (nint Copy, long Count)> _copies = [];

    /// <summary>The copy of a parameter that AdamW updates, made at its first update; 0 when activations are F32.</summary>
    private nint CopyOf(Tensor parameter)
    {
        if (_computeType == DType.F32) return 0;
        if (_copies.TryGetValue(parameter.Address, out (nint Copy, long Count) known)) return known.Copy;
        nint copy = AllocateMemory(2 * parameter.Count);
        _copies[parameter.Address] = (copy, parameter.Count);
        RefreshCopy(parameter.Address);
        return copy;
    }

    private void RefreshCopy(nint parameter)
    {
        if (_copies.TryGetValue(parameter, out (nint Copy, long Count) known))
            ForReal(() => ScaleInto(parameter, DType.F32, 1, known.Copy, _computeType, known.Count, false));
    }

    /// <summary>Forgets the copies of parameters in memory that is freed: the address may come back as something else.</summary>
    private void DropCopies(nint address, long bytes)
    {
        if (_copies.Count == 0) return;
        List<nint>? gone = null;
        foreach (nint parameter in _copies.Keys)
            if (parameter >= address && parameter < address + (nint)bytes) (gone ??= []).Add(parameter);
        foreach (nint parameter in gone ?? [])
            if (_copies.Remove(parameter, out (nint Copy, long Count) known)) FreeMemory(known.Copy);
    }
}

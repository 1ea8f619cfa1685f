namespace LoraNet.Cuda.Ptx;

/// <summary>
/// A kernel specialisation: a small value that determines the text completely. Equal specs give byte-equal text,
/// so that the driver's own compile cache hits in the next process.
/// </summary>
internal interface IKernelSpec
{
    /// <summary>Writes the kernel.</summary>
    PtxKernelText Build();
}

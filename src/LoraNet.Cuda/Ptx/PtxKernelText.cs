namespace LoraNet.Cuda.Ptx;

/// <summary>A finished kernel: its text and everything a launch needs besides the arguments.</summary>
/// <param name="Text">PTX module text with one entry.</param>
/// <param name="Entry">Name of the entry.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
internal sealed record PtxKernelText(string Text, string Entry, int Threads, int SharedBytes);

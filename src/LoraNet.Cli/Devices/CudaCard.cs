namespace LoraNet.Cli.Devices;

/// <summary>An NVIDIA card.</summary>
/// <param name="Index">Its number in <c>cuda:N</c>.</param>
/// <param name="Name">The driver's name for it.</param>
/// <param name="MemoryBytes">Its memory in bytes.</param>
/// <param name="Major">Compute capability before the point.</param>
/// <param name="Minor">Compute capability behind the point.</param>
internal sealed record CudaCard(int Index, string Name, long MemoryBytes, int Major, int Minor)
{
    /// <summary>Whether it has what the kernels need: compute capability 7.5.</summary>
    public bool NewEnough => Major > 7 || (Major == 7 && Minor >= 5);

    /// <summary>The compute capability as NVIDIA writes it.</summary>
    public string Capability => $"{Major}.{Minor}";
}

namespace LoraNet.Cli.Devices;

/// <summary>Time of a kernel.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Launches">How often it ran.</param>
/// <param name="Milliseconds">Time of all its launches.</param>
internal sealed record CardKernel(string Name, long Launches, double Milliseconds);

/// <summary>Measures the kernels of a card.</summary>
internal interface ICardProfile
{
    /// <summary>Starts measuring; what happened before is forgotten.</summary>
    void Begin();

    /// <summary>Ends the measurement.</summary>
    IReadOnlyList<CardKernel> End();
}

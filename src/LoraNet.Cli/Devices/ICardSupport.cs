using LoraNet.Tensors;

namespace LoraNet.Cli.Devices;

/// <summary>The NVIDIA cards as the command sees them: CudaCards.cs, or <see cref="NoCards"/> in a build without CUDA.</summary>
internal interface ICardSupport
{
    /// <summary>What to tell a user who looks for cards in a build without CUDA; null in one with it.</summary>
    string? Missing { get; }

    /// <summary>The cards of this machine; none without a display driver.</summary>
    IReadOnlyList<CudaCard> Cards();

    /// <summary>Opens a card.</summary>
    /// <param name="index">Its number.</param>
    /// <param name="type">The storage type of activations; null for what suits the card.</param>
    /// <param name="tf32">Whether F32 matrices may be multiplied in TF32; then <paramref name="type"/> is F32 or null.</param>
    /// <exception cref="LoraNetException">There is no such card, it is too old, or this build has no CUDA.</exception>
    Backend Open(int index, DType? type, bool tf32);

    /// <summary>A profile of a card's kernels; null when the backend is not a card.</summary>
    ICardProfile? Profile(Backend backend);
}

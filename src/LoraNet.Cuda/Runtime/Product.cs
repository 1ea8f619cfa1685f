using LoraNet.Tensors;

namespace LoraNet.Cuda.Runtime;

/// <summary>A matrix or vector on the device; address 0 stands for none.</summary>
internal readonly record struct Operand(nint Address, DType Type)
{
    public static Operand Of(Tensor? tensor) => tensor is null ? default : new(tensor.Address, tensor.DType);

    public bool Exists => Address != 0;
}

/// <summary>c (+)= alpha·(a, b by kind) + left·right + bias: every product of the contract, before a kernel is chosen. All matrices are
/// dense; left is [M, Rank] and right lies as b does, with Rank in place of K.</summary>
internal readonly record struct Product(MatMulKind Kind, int M, int N, int K, Operand A, Operand B, Operand C)
{
    public int Rank { get; init; }

    public Operand Left { get; init; }

    public Operand Right { get; init; }

    public Operand Bias { get; init; }

    public float Alpha { get; init; } = 1;

    public bool Accumulate { get; init; }
}

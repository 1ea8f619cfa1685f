using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>What a <see cref="TileKernel{TSimd, TVector}"/> works on. Strides count elements.</summary>
internal unsafe struct TileArguments
{
    /// <summary>A: element (i, k) is A[k·AStride + i] when packed, A[i·AStride + k] when row-major.</summary>
    public float* A;
    public nint AStride;
    /// <summary>B: the two vectors of k start at element k·BStride.</summary>
    public void* B;
    public nint BStride;
    public nint Depth;
    /// <summary>The low-rank phase: LowDepth further steps, in the layout of A, with a B of binary32.</summary>
    public float* LowA;
    public nint LowAStride;
    public float* LowB;
    public nint LowBStride;
    public nint LowDepth;
    public float* C;
    public nint CStride;
    /// <summary>Start value of every row unless <see cref="LoadC"/>; null for zero.</summary>
    public float* Bias;
    public bool LoadC;
}

/// <summary>How elements of B are stored.</summary>
internal unsafe interface IPanelType
{
    static abstract int Size { get; }
    static abstract TVector Load<TSimd, TVector>(byte* source) where TSimd : struct, ISimd<TVector> where TVector : unmanaged;
}

/// <summary>B of binary32.</summary>
internal readonly unsafe struct PanelF32 : IPanelType
{
    public static int Size => 4;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TSimd, TVector>(byte* source) where TSimd : struct, ISimd<TVector> where TVector : unmanaged => TSimd.Load((float*)source);
}

/// <summary>B of bfloat16, widened in the loop.</summary>
internal readonly unsafe struct PanelBF16 : IPanelType
{
    public static int Size => 2;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TSimd, TVector>(byte* source) where TSimd : struct, ISimd<TVector> where TVector : unmanaged => TSimd.LoadBFloat16((ushort*)source);
}

/// <summary>B of binary16, widened in the loop.</summary>
internal readonly unsafe struct PanelF16 : IPanelType
{
    public static int Size => 2;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TSimd, TVector>(byte* source) where TSimd : struct, ISimd<TVector> where TVector : unmanaged => TSimd.LoadHalf((ushort*)source);
}

/// <summary>Layout of A, as a constant.</summary>
internal interface ITileLayout
{
    static abstract bool RowMajor { get; }

    /// <summary>True when the rows of B lie far apart, so that the processor does not foresee them.</summary>
    static abstract bool FarB { get; }
}

/// <summary>A packed: the rows of a tile lie side by side for each k.</summary>
internal readonly struct PackedRows : ITileLayout
{
    public static bool RowMajor => false;
    public static bool FarB => false;
}

/// <summary>A packed, B row-major in a wide matrix.</summary>
internal readonly struct PackedRowsFarB : ITileLayout
{
    public static bool RowMajor => false;
    public static bool FarB => true;
}

/// <summary>A as it is in a row-major matrix.</summary>
internal readonly struct PlainRows : ITileLayout
{
    public static bool RowMajor => true;
    public static bool FarB => false;
}

/// <summary>A small number, as a constant.</summary>
internal interface ITileRows
{
    static abstract int Value { get; }
}

internal readonly struct Rows1 : ITileRows { public static int Value => 1; }

internal readonly struct Rows2 : ITileRows { public static int Value => 2; }

internal readonly struct Rows3 : ITileRows { public static int Value => 3; }

internal readonly struct Rows4 : ITileRows { public static int Value => 4; }

internal readonly struct Rows5 : ITileRows { public static int Value => 5; }

internal readonly struct Rows6 : ITileRows { public static int Value => 6; }

internal readonly struct Rows7 : ITileRows { public static int Value => 7; }

internal readonly struct Rows8 : ITileRows { public static int Value => 8; }

internal readonly struct Rows9 : ITileRows { public static int Value => 9; }

internal readonly struct Rows10 : ITileRows { public static int Value => 10; }

internal readonly struct Rows11 : ITileRows { public static int Value => 11; }

internal readonly struct Rows12 : ITileRows { public static int Value => 12; }

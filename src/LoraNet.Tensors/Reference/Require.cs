using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Reference;

/// <summary>Shape checks of the specification. A failure is a mistake of the calling code, not of the user.</summary>
internal static class Require
{
    /// <summary>The tensor is [rows, columns] when seen as a matrix.</summary>
    public static void Matrix(Tensor tensor, int rows, int columns, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor.Rows != rows || tensor.Columns != columns)
            throw new ArgumentException($"{name} is {tensor.ShapeText}; [{rows}, {columns}] was expected.", name);
    }

    /// <summary>The tensor has this many elements.</summary>
    public static void Count(Tensor tensor, long count, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor.Count != count) throw new ArgumentException($"{name} is {tensor.ShapeText}; {count} elements were expected.", name);
    }

    /// <summary>The tensor has the rows and columns of another.</summary>
    public static void Same(Tensor tensor, Tensor other, [CallerArgumentExpression(nameof(tensor))] string? name = null) =>
        Matrix(tensor, other.Rows, other.Columns, name);

    /// <summary>0 ≤ index &lt; count.</summary>
    public static void Index(int index, long count, string what)
    {
        if (index < 0 || index >= count) throw new ArgumentOutOfRangeException(what, index, $"not between 0 and {count - 1}");
    }
}

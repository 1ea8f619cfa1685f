using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>The names of element types in safetensors headers.</summary>
internal static class SafetensorsTypes
{
    private static readonly (string Name, DType Type)[] _names =
    [
        ("F64", DType.F64), ("F32", DType.F32), ("F16", DType.F16), ("BF16", DType.BF16),
        ("I64", DType.I64), ("I32", DType.I32), ("I16", DType.I16), ("I8", DType.I8),
        ("U8", DType.U8), ("BOOL", DType.Bool), ("U16", DType.U16), ("U32", DType.U32), ("U64", DType.U64),
    ];

    public static string Supported { get; } = string.Join(", ", _names.Select(static n => n.Name));

    public static bool TryParse(string name, out DType dtype)
    {
        foreach ((string n, DType type) in _names)
        {
            if (n != name) continue;
            dtype = type;
            return true;
        }
        dtype = default;
        return false;
    }

    public static string Name(DType dtype)
    {
        foreach ((string n, DType type) in _names)
            if (type == dtype) return n;
        throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no safetensors name");
    }
}

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// A row as octets that lie on multiples of 16 bytes, and the single elements before and after them. Tensors that share the row's
/// numbering can be walked alike when each begins on a multiple of 16 bytes.
/// </summary>
internal struct RowParts
{
    /// <summary>Element numbers in the tensor: of the row, and of its first octet.</summary>
    public long First, Body;

    /// <summary>Number of octets, and of single elements.</summary>
    public int Octets, Singles;

    /// <summary>Splits the row of <paramref name="columns"/> elements from <paramref name="first"/> on;
    /// <paramref name="addresses"/> are those of all tensors, or-ed: unaligned ones make every element single.</summary>
    public static RowParts Of(long first, int columns, long addresses)
    {
        RowParts r = default;
        int head = (int)(-first & 7);
        if (head > columns || (addresses & 15) != 0) head = columns;
        r.First = first;
        r.Body = first + head;
        r.Octets = (columns - head) >> 3;
        r.Singles = columns - 8 * r.Octets;
        return r;
    }

    /// <summary>Splits a row that is walked together with a vector of its columns: all octets if the row begins with one, else all single.</summary>
    public static RowParts Whole(long first, int columns, long addresses) => Of(first, columns, (columns & 7) == 0 ? addresses : 1);

    /// <summary>Element number of single element <paramref name="s"/>.</summary>
    public readonly long Single(int s) => First + s + (First + s < Body ? 0 : 8L * Octets);
}

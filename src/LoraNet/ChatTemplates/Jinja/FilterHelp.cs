using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Pieces several filters share.</summary>
internal static class FilterHelp
{
    /// <summary>Python's str.replace: an empty <paramref name="old"/> matches before every character and at the end.</summary>
    public static string Replace(RenderContext context, string text, string old, string to, int count)
    {
        context.ChargeText(text.Length);
        if (count == 0) return text;
        if (old.Length == 0)
        {
            string[] points = PyText.Points(text);
            int n = count < 0 ? points.Length + 1 : Math.Min(count, points.Length + 1);
            context.ChargeText(text.Length + ((long)n * to.Length));
            var spread = new System.Text.StringBuilder();
            for (int i = 0; i <= points.Length; i++)
            {
                if (i < n) spread.Append(to);
                if (i < points.Length) spread.Append(points[i]);
            }

            return spread.ToString();
        }

        long hits = 0;
        for (int i = 0; (count < 0 || hits < count) && (i = text.IndexOf(old, i, StringComparison.Ordinal)) >= 0; i += old.Length) hits++;
        if (hits == 0) return text;
        context.ChargeText(text.Length + (hits * (to.Length - old.Length)));
        if (count < 0) return text.Replace(old, to, StringComparison.Ordinal);
        var result = new System.Text.StringBuilder();
        int from = 0;
        for (; hits > 0; hits--)
        {
            int at = text.IndexOf(old, from, StringComparison.Ordinal);
            result.Append(text, from, at - from).Append(to);
            from = at + old.Length;
        }

        return result.Append(text, from, text.Length - from).ToString();
    }

    /// <summary>Sorts as Python does: stable, ascending by key, equal items in order also when reversed.</summary>
    public static List<object?> StableSort(RenderContext context, List<object?> items, Func<object?, object?> key, bool reverse)
    {
        var keyed = items.Select(i => (Key: key(i), Item: i)).ToArray();
        if (reverse) Array.Reverse(keyed);
        var buffer = new (object? Key, object? Item)[keyed.Length];
        MergeSort(context, keyed, buffer, 0, keyed.Length);
        if (reverse) Array.Reverse(keyed);
        return [.. keyed.Select(k => k.Item)];
    }

    private static void MergeSort(RenderContext context, (object? Key, object? Item)[] a, (object? Key, object? Item)[] buffer, int from, int to)
    {
        if (to - from < 2) return;
        int middle = (from + to) / 2;
        MergeSort(context, a, buffer, from, middle);
        MergeSort(context, a, buffer, middle, to);
        int left = from, right = middle;
        for (int i = from; i < to; i++)
        {
            bool takeRight = left == middle || (right < to && Py.Compare(context, a[right].Key, a[left].Key) == -1);
            buffer[i] = takeRight ? a[right++] : a[left++];
        }

        Array.Copy(buffer, from, a, from, to - from);
    }

    /// <summary>Strings in lower case, other values as they are: how filters compare without regard to case.</summary>
    public static object? IgnoreCase(object? value) => Py.AsText(value) is { } text ? PyText.Lower(text) : value;

    /// <summary>Follows <c>a.b.0</c> through values; parts that are digits are positions.</summary>
    public static object? Follow(RenderContext context, object? value, object? path, object? fallback = null)
    {
        if (path is null || path == CallArgs.Missing) return value;
        if (Py.AsText(path) is not { } text)
        {
            value = Attributes.GetItem(context, value, path);
            return value is Undefined && fallback is not null ? fallback : value;
        }

        context.Charge(text.Length >> 3);
        foreach (string part in text.Split('.'))
        {
            object key = part.Length is > 0 and < 18 && part.All(char.IsAsciiDigit) ? long.Parse(part, System.Globalization.CultureInfo.InvariantCulture) : part;
            value = Attributes.GetItem(context, value, key);
            if (value is Undefined && fallback is not null) value = fallback;
        }

        return value;
    }

    /// <summary>A float cut towards zero to an integer; faults on infinity and NaN.</summary>
    public static object Truncate(double d) => double.IsFinite(d)
        ? Num.Normal(new BigInteger(Math.Truncate(d)))
        : throw new TemplateFault("an infinite or undefined number has no integer value");

    public static PyIterator Lazy(IEnumerable<object?> items) => new(items.GetEnumerator());
}

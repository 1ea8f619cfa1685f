using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>A dict that keeps the order of its keys and compares keys as Python does (1, 1.0 and True are one key).</summary>
internal sealed class PyDict
{
    // No template needs larger tuples as keys; the bound keeps hashing cheap and shallow.
    private const int MaxKeyParts = 64;

    private static readonly object s_noneKey = new();
    private readonly List<(object? Key, object? Value)> _entries = [];
    private readonly Dictionary<object, int> _index = new(KeyComparer.Instance);

    public int Count => _entries.Count;

    public object? KeyAt(int i) => _entries[i].Key;

    public object? ValueAt(int i) => _entries[i].Value;

    public void Set(object? key, object? value)
    {
        object k = key ?? s_noneKey;
        if (_index.TryGetValue(k, out int i))
        {
            _entries[i] = (_entries[i].Key, value);
            return;
        }

        _index[k] = _entries.Count;
        _entries.Add((key, value));
    }

    public bool TryGet(object? key, out object? value)
    {
        if (_index.TryGetValue(key ?? s_noneKey, out int i))
        {
            value = _entries[i].Value;
            return true;
        }

        value = null;
        return false;
    }

    public PyDict Copy()
    {
        var copy = new PyDict();
        foreach ((object? key, object? value) in _entries) copy.Set(key, value);
        return copy;
    }

    /// <summary>Whether a value can be a key; lists, dicts and namespaces can't.</summary>
    public static bool IsHashable(object? value)
    {
        int budget = MaxKeyParts;
        return IsHashable(value, ref budget);
    }

    private static bool IsHashable(object? value, ref int budget)
    {
        if (value is PyList or PyDict or PyView) return false;
        if (value is not PyTuple tuple) return true;
        if ((budget -= tuple.Count + 1) < 0) throw new TemplateFault($"a tuple of more than {MaxKeyParts} parts can't be a dict key");
        foreach (object? item in tuple.Items)
            if (!IsHashable(item, ref budget)) return false;
        return true;
    }

    /// <summary>Faults as Python does when a value can't be a key.</summary>
    public static object? CheckKey(object? key) => IsHashable(key)
        ? key
        : throw new TemplateFault($"a {Py.TypeName(key)} can't be a dict key");

    private sealed class KeyComparer : IEqualityComparer<object>
    {
        public static readonly KeyComparer Instance = new();

        public new bool Equals(object? x, object? y) => Same(x, y);

        public int GetHashCode(object key) => Hash(key);

        private static bool Same(object? x, object? y)
        {
            if (ReferenceEquals(x, y)) return true;
            if (x is string a && y is string b) return a == b;
            if (x is PyTuple s && y is PyTuple t)
            {
                if (s.Count != t.Count) return false;
                for (int i = 0; i < s.Count; i++)
                    if (!Same(s[i], t[i])) return false;
                return true;
            }

            return Py.AsText(x) is { } p ? p == Py.AsText(y) : Num.Is(x) && Num.Is(y) && Num.Compare(x!, y!) == 0;
        }

        private static int Hash(object? key)
        {
            switch (key)
            {
                case null:
                    return 0;
                case string s:
                    return s.GetHashCode();
                case Markup m:
                    return m.Text.GetHashCode();
                case bool b:
                    return (b ? 1L : 0L).GetHashCode();
                case double d when d == Math.Floor(d) && Math.Abs(d) < 9e18:
                    return ((long)d).GetHashCode();
                case double d:
                    return d.GetHashCode();
                case BigInteger big:
                    return ((double)big).GetHashCode();
                case PyTuple t:
                    var hash = default(HashCode);
                    foreach (object? item in t.Items) hash.Add(Hash(item));
                    return hash.ToHashCode();
                default:
                    return key.GetHashCode();
            }
        }
    }
}

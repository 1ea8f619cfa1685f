namespace LoraNet.ChatTemplates.Jinja;

/// <summary>
/// The <c>loop</c> variable. It walks its items lazily and looks one ahead only when asked to, because a filter
/// in the loop's head may depend on what the body has set so far.
/// </summary>
internal sealed class LoopContext(RenderContext context, object? iterable)
{
    private static readonly object s_none = new();
    private IEnumerator<object?> _items = Py.Iterate(context, iterable).GetEnumerator();
    private int _length = iterable is PyIterator or LoopContext ? -1 : Py.TryLength(iterable) ?? -1;
    private object? _after = s_none;
    private object? _before = s_none;
    private object? _current = s_none;
    private PyTuple? _lastChanged;

    public long Index0 { get; private set; } = -1;

    public object? Current => _current;

    public long Length
    {
        get
        {
            if (_length >= 0) return _length;
            var rest = new List<object?>();
            while (_items.MoveNext()) rest.Add(_items.Current);
            _items = rest.GetEnumerator();
            return _length = rest.Count + (int)Index0 + 1 + (_after == s_none ? 0 : 1);
        }
    }

    public bool MoveNext()
    {
        object? next;
        if (_after != s_none)
        {
            next = _after;
            _after = s_none;
        }
        else if (_items.MoveNext())
        {
            next = _items.Current;
        }
        else
        {
            return false;
        }

        Index0++;
        _before = _current;
        _current = next;
        return true;
    }

    public bool TryAttribute(string name, out object? value)
    {
        value = name switch
        {
            "index" => Index0 + 1,
            "index0" => Index0,
            "revindex" => Length - Index0,
            "revindex0" => Length - Index0 - 1,
            "first" => Index0 == 0,
            "last" => !Peek(out _),
            "length" => Length,
            "depth" => 1L,
            "depth0" => 0L,
            "previtem" => Index0 == 0 ? new Undefined("there is no previous item") : _before,
            "nextitem" => Peek(out object? next) ? next : new Undefined("there is no next item"),
            "cycle" => new PyFunction("cycle", (c, a) => a.Positional.Length == 0
                ? throw new TemplateFault("loop.cycle() needs values")
                : a.Positional[Index0 % a.Positional.Length]),
            "changed" => new PyFunction("changed", Changed),
            _ => s_none,
        };
        return value != s_none;
    }

    private bool Peek(out object? next)
    {
        if (_after == s_none && _items.MoveNext()) _after = _items.Current;
        next = _after;
        return _after != s_none;
    }

    private object? Changed(RenderContext context, CallArgs args)
    {
        var now = new PyTuple(args.Positional);
        if (_lastChanged is not null && Py.Equal(context, _lastChanged, now)) return false;
        _lastChanged = now;
        return true;
    }
}

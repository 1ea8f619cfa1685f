namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The arguments of one call.</summary>
internal sealed class CallArgs(object?[] positional, (string Name, object? Value)[] keyword)
{
    /// <summary>Stands for an argument that was not given.</summary>
    public static readonly object Missing = new();

    public static readonly CallArgs None = new([], []);

    public object?[] Positional { get; } = positional;

    public (string Name, object? Value)[] Keyword { get; } = keyword;

    public static CallArgs Of(params object?[] positional) => new(positional, []);

    /// <summary>The arguments without the first <paramref name="count"/> positional ones.</summary>
    public CallArgs Skip(int count) => new(Positional[Math.Min(count, Positional.Length)..], Keyword);

    /// <summary>Binds to parameter names; those not given are <see cref="Missing"/>. Faults on too many, unknown or absent required ones.</summary>
    public object?[] Bind(string function, int required, params ReadOnlySpan<string> names)
    {
        if (Positional.Length > names.Length)
            throw new TemplateFault($"{function} takes at most {names.Length} argument(s), but {Positional.Length} were given");
        var bound = new object?[names.Length];
        Array.Fill(bound, Missing);
        Positional.CopyTo(bound, 0);
        foreach ((string name, object? value) in Keyword)
        {
            int at = names.IndexOf(name);
            if (at < 0) throw new TemplateFault($"{function} has no argument named '{name}'");
            if (bound[at] != Missing) throw new TemplateFault($"{function} got '{name}' twice");
            bound[at] = value;
        }

        for (int i = 0; i < required; i++)
            if (bound[i] == Missing) throw new TemplateFault($"{function} needs the argument '{names[i]}'");
        return bound;
    }

    /// <summary>Faults when any argument was given.</summary>
    public void ExpectNone(string function) => Bind(function, 0);
}

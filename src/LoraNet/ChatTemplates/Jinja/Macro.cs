using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>What a macro or a call block's body declares.</summary>
internal sealed record MacroDefinition(string Name, List<string> Parameters, List<Expr> Defaults, Block Body, bool UsesCaller, bool UsesKwargs, bool UsesVarargs);

/// <summary>A macro together with the variables it was defined among.</summary>
internal sealed class PyMacro(MacroDefinition definition, Scope closure) : PyCallable(definition.Name)
{
    private static readonly object s_missing = CallArgs.Missing;

    public override object? Call(RenderContext context, CallArgs args)
    {
        Scope scope = Bind(context, args);
        context.EnterCall();
        Scope outer = context.Scope;
        context.Scope = scope;
        StringBuilder output = context.BeginCapture();
        definition.Body.Run(context);
        string text = context.EndCapture(output);
        context.Scope = outer;
        context.LeaveCall();
        return text;
    }

    private Scope Bind(RenderContext context, CallArgs args)
    {
        List<string> names = definition.Parameters;
        var values = new object?[names.Count];
        Array.Fill(values, s_missing);
        int given = Math.Min(args.Positional.Length, names.Count);
        Array.Copy(args.Positional, values, given);
        var rest = new PyDict();
        object? caller = s_missing;
        foreach ((string name, object? value) in args.Keyword)
        {
            int at = names.IndexOf(name);
            if (at >= given) values[at] = value;
            else if (name == "caller" && definition.UsesCaller && at < 0) caller = value;
            else rest.Set(name, value);
        }

        if (rest.Count > 0 && !definition.UsesKwargs) throw new TemplateFault($"the macro {Name} takes no argument named '{Py.AsText(rest.KeyAt(0))}'");
        if (args.Positional.Length > names.Count && !definition.UsesVarargs) throw new TemplateFault($"the macro {Name} takes at most {names.Count} argument(s)");
        var scope = new Scope(closure);
        if (definition.UsesCaller && !names.Contains("caller")) scope.Set("caller", caller == s_missing ? new Undefined("no caller is defined: use a call block") : caller);
        if (definition.UsesKwargs) scope.Set("kwargs", rest);
        if (definition.UsesVarargs) scope.Set("varargs", new PyTuple(args.Positional[given..]));
        Scope outer = context.Scope;
        context.Scope = scope;
        for (int i = 0; i < values.Length; i++)
        {
            int d = i - (values.Length - definition.Defaults.Count);
            if (values[i] == s_missing) values[i] = d >= 0 ? definition.Defaults[d].Eval(context) : new Undefined($"the macro's argument '{names[i]}' was not given");
            scope.Set(names[i], values[i]);
        }

        context.Scope = outer;
        return scope;
    }

    public bool TryAttribute(string name, out object? value)
    {
        value = name switch
        {
            "name" => Name,
            "arguments" => new PyTuple([.. definition.Parameters]),
            "catch_kwargs" => definition.UsesKwargs,
            "catch_varargs" => definition.UsesVarargs,
            "caller" => definition.UsesCaller,
            _ => s_missing,
        };
        return value != s_missing;
    }
}

internal sealed class MacroStatement(int line, MacroDefinition definition) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        context.Scope.Set(definition.Name, new PyMacro(definition, context.Scope));
        return Flow.Normal;
    }
}

internal sealed class CallStatement(int line, CallExpr call, MacroDefinition body) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        context.Write(Py.Str(context, call.Invoke(context, new PyMacro(body, context.Scope))));
        return Flow.Normal;
    }
}

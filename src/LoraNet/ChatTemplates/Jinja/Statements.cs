using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Normal,
    Break,
    Continue,
}

internal abstract class Statement(int line)
{
    public int Line { get; } = line;

    public abstract Flow Run(RenderContext context);
}

internal sealed class Block(Statement[] statements)
{
    public Flow Run(RenderContext context)
    {
        foreach (Statement s in statements)
        {
            context.Enter(s.Line);
            Flow flow = s.Run(context);
            if (flow != Flow.Normal) return flow;
        }

        return Flow.Normal;
    }

    /// <summary>Runs with variables of its own.</summary>
    public Flow RunScoped(RenderContext context, Scope parent, Action<Scope>? fill = null)
    {
        Scope outer = context.Scope;
        var scope = new Scope(parent);
        fill?.Invoke(scope);
        context.Scope = scope;
        Flow flow = Run(context);
        context.Scope = outer;
        return flow;
    }

    /// <summary>Runs with variables of its own and gives what it printed; null when the block was left by break or continue.</summary>
    public string? Capture(RenderContext context, out Flow flow)
    {
        StringBuilder outer = context.BeginCapture();
        flow = RunScoped(context, context.Scope);
        string text = context.EndCapture(outer);
        return flow == Flow.Normal ? text : null;
    }
}

internal sealed class TextStatement(int line, string text) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        context.Write(text);
        return Flow.Normal;
    }
}

internal sealed class PrintStatement(int line, Expr value) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        context.Write(Py.Str(context, value.Eval(context)));
        return Flow.Normal;
    }
}

internal sealed class IfStatement(int line, List<(Expr Test, Block Body)> branches, Block? otherwise) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        foreach ((Expr test, Block body) in branches)
            if (Py.Truth(test.Eval(context))) return body.Run(context);
        return otherwise?.Run(context) ?? Flow.Normal;
    }
}

internal sealed class JumpStatement(int line, Flow flow) : Statement(line)
{
    public override Flow Run(RenderContext context) => flow;
}

internal sealed class SetStatement(int line, Expr target, Expr value) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        Assign(context, target, value.Eval(context));
        return Flow.Normal;
    }

    public static void Assign(RenderContext context, Expr target, object? value)
    {
        switch (target)
        {
            case NameExpr name:
                context.Scope.Set(name.Name, value);
                break;
            case NamespaceRef reference:
                if (context.Scope.Get(reference.Name) is not Namespace ns)
                    throw new TemplateFault($"'{reference.Name}' is not a namespace, so its attribute can't be set", $"Make it one with {{% set {reference.Name} = namespace() %}}.");
                ns.Attributes.Set(reference.Attribute, value);
                break;
            case TupleExpr tuple:
                List<object?> parts = Py.ToList(context, value);
                if (parts.Count != tuple.Items.Count)
                    throw new TemplateFault($"{tuple.Items.Count} names are set from {parts.Count} values");
                for (int i = 0; i < parts.Count; i++) Assign(context, tuple.Items[i], parts[i]);
                break;
        }
    }
}

internal sealed class SetBlockStatement(int line, Expr target, FilterExpr? filter, Block body) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        if (body.Capture(context, out Flow flow) is not { } text) return flow;
        SetStatement.Assign(context, target, filter is null ? text : filter.ApplyToBlock(context, text));
        return Flow.Normal;
    }
}

internal sealed class FilterStatement(int line, FilterExpr filter, Block body) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        if (body.Capture(context, out Flow flow) is not { } text) return flow;
        context.Write(Py.Str(context, filter.ApplyToBlock(context, text)));
        return Flow.Normal;
    }
}

internal sealed class WithStatement(int line, List<(Expr Target, Expr Value)> variables, Block body) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        // The values are all read outside: one variable of a with can't see another.
        Scope outer = context.Scope;
        var inner = new Scope(outer);
        foreach ((Expr target, Expr value) in variables)
        {
            object? v = value.Eval(context);
            context.Scope = inner;
            SetStatement.Assign(context, target, v);
            context.Scope = outer;
        }

        return body.RunScoped(context, inner);
    }
}

/// <summary>The text a model is to produce; its place in the output is noted. Variables set inside stay inside.</summary>
internal sealed class GenerationStatement(int line, Block body) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        int start = context.OutputLength;
        body.RunScoped(context, context.Scope);
        if (context.IsCapturing) context.GenerationSpanLost = true;
        else context.GenerationSpans.Add((start, context.OutputLength));
        return Flow.Normal;
    }
}

internal sealed class ForStatement(int line, Expr target, Expr iterable, Expr? filter, Block body, Block? otherwise) : Statement(line)
{
    public override Flow Run(RenderContext context)
    {
        Scope outer = context.Scope;
        object? items = iterable.Eval(context);
        if (items is Undefined && filter is not null) items = new PyList([]);
        if (filter is not null) items = FilterHelp.Lazy(Filtered(context, Py.Iterate(context, items), outer));
        var loop = new LoopContext(context, items);
        bool completed = false;
        while (loop.MoveNext())
        {
            context.Enter(Line);
            var scope = new Scope(outer);
            context.Scope = scope;
            scope.Set("loop", loop);
            SetStatement.Assign(context, target, loop.Current);
            Flow flow = body.Run(context);
            context.Scope = outer;
            if (flow == Flow.Break) break;

            // Only an iteration that runs to its end keeps else from running: Jinja's own rule.
            completed |= flow == Flow.Normal;
        }

        if (completed || otherwise is null) return Flow.Normal;
        return otherwise.RunScoped(context, outer);
    }

    private IEnumerable<object?> Filtered(RenderContext context, IEnumerable<object?> items, Scope outer)
    {
        foreach (object? item in items)
        {
            Scope before = context.Scope;
            context.Scope = new Scope(outer);
            SetStatement.Assign(context, target, item);
            bool keep = Py.Truth(filter!.Eval(context));
            context.Scope = before;
            if (keep) yield return item;
        }
    }
}

using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

internal delegate bool TestBody(RenderContext context, object? value, CallArgs args);

/// <summary>The tests that follow <c>is</c>.</summary>
internal static class Tests
{
    private static readonly Dictionary<string, TestBody> s_tests = Build();

    public static TestBody? Find(string name) => s_tests.GetValueOrDefault(name);

    public static TestBody Get(object? name) => Py.AsText(name) is { } text
        ? Find(text) ?? throw new TemplateFault($"there is no test named '{text}'")
        : throw new TemplateFault("a test's name must be a string");

    private static Dictionary<string, TestBody> Build()
    {
        var tests = new Dictionary<string, TestBody>
        {
            ["divisibleby"] = (c, v, a) => Py.Equal(c, Operators.Binary(c, "%", v, a.Bind("divisibleby", 1, "num")[0]), 0L),
            ["in"] = (c, v, a) => Py.Contains(c, a.Bind("in", 1, "seq")[0], v),
            ["sameas"] = (c, v, a) => Same(v, a.Bind("sameas", 1, "other")[0]),
        };
        Plain("defined", v => v is not Undefined);
        Plain("undefined", v => v is Undefined);
        Plain("none", v => v is null);
        Plain("boolean", v => v is bool);
        Plain("true", v => v is true);
        Plain("false", v => v is false);
        Plain("integer", v => v is long or BigInteger);
        Plain("float", v => v is double);
        Plain("number", Num.Is);
        Plain("string", v => v is string or Markup);
        Plain("mapping", v => v is PyDict);
        Plain("sequence", v => v is string or Markup or PySequence or PyDict or Undefined);
        Plain("iterable", Py.IsIterable);
        Plain("callable", v => v is PyCallable or Cycler or LoopContext or Undefined);
        Plain("escaped", v => v is Markup);
        Plain("filter", v => v is string s && Filters.Find(s) is not null);
        Plain("test", v => v is string s && Find(s) is not null);
        tests["lower"] = (c, v, a) => StringMethods.IsCase(Py.Str(c, v), lower: true);
        tests["upper"] = (c, v, a) => StringMethods.IsCase(Py.Str(c, v), lower: false);
        tests["odd"] = (c, v, a) => Py.Equal(c, Operators.Binary(c, "%", v, 2L), 1L);
        tests["even"] = (c, v, a) => Py.Equal(c, Operators.Binary(c, "%", v, 2L), 0L);
        Compared((c, v, w) => Py.Equal(c, v, w), "==", "eq", "equalto");
        Compared((c, v, w) => !Py.Equal(c, v, w), "!=", "ne");
        Compared((c, v, w) => Py.Compare(c, v, w) == -1, "<", "lt", "lessthan");
        Compared((c, v, w) => Py.Compare(c, v, w) is -1 or 0, "<=", "le");
        Compared((c, v, w) => Py.Compare(c, v, w) == 1, ">", "gt", "greaterthan");
        Compared((c, v, w) => Py.Compare(c, v, w) is 1 or 0, ">=", "ge");
        return tests;

        void Plain(string name, Func<object?, bool> test) => tests[name] = (c, v, a) =>
        {
            a.ExpectNone(name);
            return test(v);
        };

        void Compared(Func<RenderContext, object?, object?, bool> test, params string[] names)
        {
            foreach (string name in names)
                tests[name] = (c, v, a) => test(c, v, a.Bind(name, 1, "other")[0]);
        }
    }

    private static bool Same(object? a, object? b) => ReferenceEquals(a, b)
        || (a is bool x && b is bool y && x == y)
        || (a is long p && b is long q && p == q && p is >= -5 and <= 256)
        || (a is string s && b is string t && s == t);
}

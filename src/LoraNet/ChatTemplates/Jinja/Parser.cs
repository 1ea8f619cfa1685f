namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Builds the tree of a template: this part reads statements, the other expressions.</summary>
internal sealed partial class Parser
{
    private const int MaxDepth = 100;

    private readonly List<Token> _tokens;
    private readonly List<(Expr Node, TemplateFault Fault)> _unknown = [];
    private readonly Stack<HashSet<string>> _macroNames = new();
    private readonly Stack<(string Tag, int Line)> _open = new();
    private int _at;
    private int _depth;
    private int _loops;

    private Parser(List<Token> tokens) => _tokens = tokens;

    /// <summary>Whether a generation block was read.</summary>
    public bool HasGeneration { get; private set; }

    public static (Block Body, bool HasGeneration) Parse(string source)
    {
        var parser = new Parser(Lexer.Tokenize(source));
        Block body = parser.Statements();
        if (parser._unknown.Count > 0) throw parser._unknown[0].Fault;
        return (body, parser.HasGeneration);
    }

    private Token Current => _tokens[_at];

    private Token Next() => _tokens[_at < _tokens.Count - 1 ? _at++ : _at];

    private Token Look => _tokens[Math.Min(_at + 1, _tokens.Count - 1)];

    private bool SkipName(string name)
    {
        if (!Current.IsName(name)) return false;
        _at++;
        return true;
    }

    private bool SkipOperator(string op)
    {
        if (!Current.IsOperator(op)) return false;
        _at++;
        return true;
    }

    private void ExpectOperator(string op)
    {
        if (!SkipOperator(op)) throw Fail($"expected '{op}', found {Current}");
    }

    private string ExpectName() => Current.Kind == TokenKind.Name ? Next().Text : throw Fail($"expected a name, found {Current}");

    private void ExpectBlockEnd()
    {
        if (Current.Kind != TokenKind.BlockEnd) throw Fail($"expected '%}}', found {Current}");
        _at++;
    }

    private TemplateFault Fail(string message, int line = 0) => new(message, null, line == 0 ? Current.Line : line);

    private void Deeper()
    {
        if (++_depth > MaxDepth) throw Fail("the template nests too deeply");
    }

    // Statements up to one of the end tags, which is left current (after its "{%").
    private Block Statements(params string[] ends)
    {
        Deeper();
        var body = new List<Statement>();
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.Data:
                    _at++;
                    body.Add(new TextStatement(token.Line, token.Text));
                    break;
                case TokenKind.VariableBegin:
                    _at++;
                    body.Add(new PrintStatement(token.Line, Tuple()));
                    if (Current.Kind != TokenKind.VariableEnd) throw Fail($"expected '}}}}', found {Current}");
                    _at++;
                    break;
                case TokenKind.BlockBegin:
                    _at++;
                    if (Current.Kind == TokenKind.Name && ends.Contains(Current.Text))
                    {
                        _depth--;
                        return new Block([.. body]);
                    }

                    body.Add(Tag());
                    ExpectBlockEnd();
                    break;
                case TokenKind.End:
                    if (_open.TryPeek(out (string Tag, int Line) open)) throw Fail($"the tag {{% {open.Tag} %}} on line {open.Line} is not closed");
                    _depth--;
                    return new Block([.. body]);
                default:
                    throw Fail($"unexpected {token}");
            }
        }
    }

    // The body after a tag's own words, and the end tag's name, which is consumed.
    private Block Body(out string end, params string[] ends)
    {
        SkipOperator(":");
        ExpectBlockEnd();
        Block body = Statements(ends);
        end = Next().Text;
        return body;
    }

    private Statement Tag()
    {
        Token token = Current;
        if (token.Kind != TokenKind.Name) throw Fail($"a tag's name was expected, found {token}");
        _at++;
        _open.Push((token.Text, token.Line));
        Statement statement = token.Text switch
        {
            "for" => For(token.Line),
            "if" => If(token.Line),
            "set" => Set(token.Line),
            "macro" => Macro(token.Line),
            "call" => Call(token.Line),
            "filter" => Filter(token.Line),
            "with" => With(token.Line),
            "generation" => Generation(token.Line),
            "break" or "continue" => Jump(token),
            "print" => Print(token.Line),
            "include" or "import" or "from" or "extends" or "block" or "autoescape" or "do" or "trans" or "debug" =>
                throw TemplateFault.Unsupported($"the tag {{% {token.Text} %}}", token.Line),
            _ => throw Unknown(token),
        };
        _open.Pop();
        return statement;
    }

    private TemplateFault Unknown(Token token)
    {
        _open.Pop();
        return _open.TryPeek(out (string Tag, int Line) open)
            ? Fail($"unexpected tag {{% {token.Text} %}} inside {{% {open.Tag} %}} of line {open.Line}", token.Line)
            : Fail($"unexpected tag {{% {token.Text} %}}", token.Line);
    }

    private JumpStatement Jump(Token token)
    {
        if (_loops == 0) throw Fail($"{{% {token.Text} %}} stands outside a loop", token.Line);
        return new JumpStatement(token.Line, token.Text == "break" ? Flow.Break : Flow.Continue);
    }

    private PrintStatement Print(int line)
    {
        var parts = new List<Expr>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (parts.Count > 0) ExpectOperator(",");
            parts.Add(Expression());
        }

        return new PrintStatement(line, new ConcatExpr(line, parts));
    }

    private ForStatement For(int line)
    {
        Expr target = Target(stopAt: "in", namespaces: false);
        if (!SkipName("in")) throw Fail($"expected 'in', found {Current}");
        Expr iterable = Tuple(conditions: false, stopAt: "recursive");
        Expr? filter = SkipName("if") ? Expression() : null;
        if (Current.IsName("recursive")) throw TemplateFault.Unsupported("a recursive loop", Current.Line);
        _loops++;
        Block body = Body(out string end, "endfor", "else");
        _loops--;
        Block? otherwise = end == "else" ? Body(out _, "endfor") : null;
        return new ForStatement(line, target, iterable, filter, body, otherwise);
    }

    private IfStatement If(int line)
    {
        int known = _unknown.Count;
        var branches = new List<(Expr, Block)>();
        Block? otherwise = null;
        string end = "elif";
        while (end == "elif")
        {
            Expr test = Tuple(conditions: false);
            branches.Add((test, Body(out end, "elif", "else", "endif")));
        }

        if (end == "else") otherwise = Body(out _, "endif");
        Soften(known);
        return new IfStatement(line, branches, otherwise);
    }

    // An unknown filter or test in a branch matters only when the branch runs.
    private void Soften(int known) => _unknown.RemoveRange(known, _unknown.Count - known);

    private Statement Set(int line)
    {
        Expr target = Target(stopAt: null, namespaces: true);
        if (SkipOperator("=")) return new SetStatement(line, target, Tuple());
        var filter = FilterChain(null) as FilterExpr;
        return new SetBlockStatement(line, target, filter, Body(out _, "endset"));
    }

    private FilterStatement Filter(int line)
    {
        var filter = (FilterExpr)FilterChain(null, inline: true)!;
        return new FilterStatement(line, filter, Body(out _, "endfilter"));
    }

    private WithStatement With(int line)
    {
        var variables = new List<(Expr, Expr)>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (variables.Count > 0) ExpectOperator(",");
            Expr target = Target(stopAt: null, namespaces: false);
            ExpectOperator("=");
            variables.Add((target, Expression()));
        }

        return new WithStatement(line, variables, Body(out _, "endwith"));
    }

    private GenerationStatement Generation(int line)
    {
        HasGeneration = true;
        int loops = _loops;
        _loops = 0;
        Block body = Body(out _, "endgeneration");
        _loops = loops;
        return new GenerationStatement(line, body);
    }

    private MacroStatement Macro(int line)
    {
        string name = ExpectName();
        (List<string> parameters, List<Expr> defaults) = Signature();
        return new MacroStatement(line, MacroBody(name, parameters, defaults, "endmacro"));
    }

    private CallStatement Call(int line)
    {
        (List<string> parameters, List<Expr> defaults) = Current.IsOperator("(") ? Signature() : ([], []);
        if (Expression() is not CallExpr call) throw Fail("{% call %} needs a call", line);
        return new CallStatement(line, call, MacroBody("caller", parameters, defaults, "endcall"));
    }

    private MacroDefinition MacroBody(string name, List<string> parameters, List<Expr> defaults, string end)
    {
        int loops = _loops;
        _loops = 0;
        _macroNames.Push([]);
        Block body = Body(out _, end);
        HashSet<string> names = _macroNames.Pop();
        if (_macroNames.TryPeek(out HashSet<string>? outer)) outer.UnionWith(names);
        _loops = loops;
        return new MacroDefinition(name, parameters, defaults, body, names.Contains("caller"), names.Contains("kwargs"), names.Contains("varargs"));
    }

    private (List<string> Parameters, List<Expr> Defaults) Signature()
    {
        var parameters = new List<string>();
        var defaults = new List<Expr>();
        ExpectOperator("(");
        while (!Current.IsOperator(")"))
        {
            if (parameters.Count > 0) ExpectOperator(",");
            string name = ExpectName();
            if (parameters.Contains(name)) throw Fail($"the argument '{name}' is named twice");
            parameters.Add(name);
            if (SkipOperator("=")) defaults.Add(Expression());
            else if (defaults.Count > 0) throw Fail("an argument without a default follows one with a default");
        }

        _at++;
        return (parameters, defaults);
    }

    private Expr Target(string? stopAt, bool namespaces)
    {
        Expr target = Tuple(simple: true, stopAt: stopAt, namespaces: namespaces);
        CheckTarget(target);
        return target;
    }

    private void CheckTarget(Expr target)
    {
        switch (target)
        {
            case NameExpr or NamespaceRef:
                return;
            case TupleExpr tuple:
                tuple.Items.ForEach(CheckTarget);
                return;
            default:
                throw Fail("only names, namespace attributes and tuples of them can be set", target.Line);
        }
    }
}

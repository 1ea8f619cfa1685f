using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

internal sealed partial class Parser
{
    private Expr Expression(bool conditions = true)
    {
        Deeper();
        Expr e = conditions ? Condition() : Or();
        _depth--;
        return e;
    }

    private Expr Condition()
    {
        int line = Current.Line;
        int known = _unknown.Count;
        Expr value = Or();
        while (SkipName("if"))
        {
            Expr test = Or();
            Expr? otherwise = null;
            if (SkipName("else"))
            {
                Deeper();
                otherwise = Condition();
                _depth--;
            }

            Soften(known);
            value = new ConditionExpr(line, test, value, otherwise);
            line = Current.Line;
        }

        return value;
    }

    private Expr Or()
    {
        Expr left = And();
        while (Current.IsName("or"))
        {
            int line = Next().Line;
            left = new LogicExpr(line, isAnd: false, left, And());
        }

        return left;
    }

    private Expr And()
    {
        Expr left = Not();
        while (Current.IsName("and"))
        {
            int line = Next().Line;
            left = new LogicExpr(line, isAnd: true, left, Not());
        }

        return left;
    }

    private Expr Not()
    {
        if (!Current.IsName("not")) return Comparison();
        int line = Next().Line;
        Deeper();
        Expr operand = Not();
        _depth--;
        return new NotExpr(line, operand);
    }

    private Expr Comparison()
    {
        int line = Current.Line;
        Expr first = Sum();
        var rest = new List<(string, Expr)>();
        while (true)
        {
            if (Current.Kind == TokenKind.Operator && Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
            {
                string op = Next().Text;
                rest.Add((op, Sum()));
            }
            else if (SkipName("in"))
            {
                rest.Add(("in", Sum()));
            }
            else if (Current.IsName("not") && Look.IsName("in"))
            {
                _at += 2;
                rest.Add(("not in", Sum()));
            }
            else
            {
                return rest.Count == 0 ? first : new CompareExpr(line, first, rest);
            }
        }
    }

    private Expr Sum()
    {
        Expr left = Concat();
        while (Current.Kind == TokenKind.Operator && Current.Text is "+" or "-")
        {
            Token op = Next();
            left = new BinaryExpr(op.Line, op.Text, left, Concat());
        }

        return left;
    }

    private Expr Concat()
    {
        int line = Current.Line;
        var parts = new List<Expr> { Product() };
        while (SkipOperator("~")) parts.Add(Product());
        return parts.Count == 1 ? parts[0] : new ConcatExpr(line, parts);
    }

    private Expr Product()
    {
        Expr left = Power();
        while (Current.Kind == TokenKind.Operator && Current.Text is "*" or "/" or "//" or "%")
        {
            Token op = Next();
            left = new BinaryExpr(op.Line, op.Text, left, Power());
        }

        return left;
    }

    private Expr Power()
    {
        Expr left = Unary();
        while (Current.IsOperator("**"))
        {
            Token op = Next();
            left = new BinaryExpr(op.Line, "**", left, Unary());
        }

        return left;
    }

    private Expr Unary(bool filters = true)
    {
        Expr node;
        if (Current.Kind == TokenKind.Operator && Current.Text is "-" or "+")
        {
            Token op = Next();
            Deeper();
            node = new UnaryExpr(op.Line, op.Text, Unary(filters: false));
            _depth--;
        }
        else
        {
            node = Primary();
        }

        node = Postfix(node);
        return filters ? FiltersAndTests(node) : node;
    }

    private Expr Primary(bool namespaces = false)
    {
        Token token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                _at++;
                switch (token.Text)
                {
                    case "true" or "True":
                        return new ConstExpr(token.Line, true);
                    case "false" or "False":
                        return new ConstExpr(token.Line, false);
                    case "none" or "None":
                        return new ConstExpr(token.Line, null);
                }

                if (namespaces && SkipOperator(".")) return new NamespaceRef(token.Line, token.Text, ExpectName());
                if (_macroNames.TryPeek(out HashSet<string>? names)) names.Add(token.Text);
                return new NameExpr(token.Line, token.Text);
            case TokenKind.Text:
                _at++;
                if (Current.Kind != TokenKind.Text) return new ConstExpr(token.Line, token.Text);
                var text = new StringBuilder(token.Text);
                while (Current.Kind == TokenKind.Text) text.Append(Next().Text);
                return new ConstExpr(token.Line, text.ToString());
            case TokenKind.Integer or TokenKind.Float:
                _at++;
                return new ConstExpr(token.Line, token.Value);
            case TokenKind.Operator when token.Text == "(":
                _at++;
                Expr inner = Tuple(parenthesised: true);
                ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                _at++;
                return List(token.Line);
            case TokenKind.Operator when token.Text == "{":
                _at++;
                return Dict(token.Line);
            default:
                throw Fail($"unexpected {token}");
        }
    }

    private ListExpr List(int line)
    {
        var items = new List<Expr>();
        while (!Current.IsOperator("]"))
        {
            if (items.Count > 0) ExpectOperator(",");
            if (Current.IsOperator("]")) break;
            items.Add(Expression());
        }

        ExpectOperator("]");
        return new ListExpr(line, items);
    }

    private DictExpr Dict(int line)
    {
        var pairs = new List<(Expr, Expr)>();
        while (!Current.IsOperator("}"))
        {
            if (pairs.Count > 0) ExpectOperator(",");
            if (Current.IsOperator("}")) break;
            Expr key = Expression();
            ExpectOperator(":");
            pairs.Add((key, Expression()));
        }

        ExpectOperator("}");
        return new DictExpr(line, pairs);
    }

    // One expression, or several with commas between, which make a tuple.
    private Expr Tuple(bool simple = false, bool conditions = true, string? stopAt = null, bool parenthesised = false, bool namespaces = false)
    {
        int line = Current.Line;
        var items = new List<Expr>();
        bool isTuple = false;
        while (true)
        {
            if (items.Count > 0) ExpectOperator(",");
            if (Current.Kind is TokenKind.VariableEnd or TokenKind.BlockEnd || Current.IsOperator(")") || (stopAt is not null && Current.IsName(stopAt))) break;
            Deeper();
            items.Add(simple ? Primary(namespaces) : Expression(conditions));
            _depth--;
            if (!Current.IsOperator(",")) break;
            isTuple = true;
        }

        if (isTuple) return new TupleExpr(line, items);
        if (items.Count > 0) return items[0];
        return parenthesised ? new TupleExpr(line, items) : throw Fail($"expected an expression, found {Current}");
    }

    private Expr Postfix(Expr node)
    {
        while (true)
        {
            if (Current.IsOperator(".")) node = Attribute(node);
            else if (Current.IsOperator("[")) node = Subscript(node);
            else if (Current.IsOperator("(")) node = CallOf(node);
            else return node;
        }
    }

    private Expr FiltersAndTests(Expr node)
    {
        while (true)
        {
            if (Current.IsOperator("|")) node = FilterChain(node)!;
            else if (Current.IsName("is")) node = Test(node);
            else if (Current.IsOperator("(")) node = CallOf(node);
            else return node;
        }
    }

    private Expr Attribute(Expr node)
    {
        int line = Next().Line;
        Token name = Next();
        return name.Kind switch
        {
            TokenKind.Name => new AttributeExpr(line, node, name.Text),
            TokenKind.Integer => new ItemExpr(line, node, new ConstExpr(line, name.Value)),
            _ => throw Fail($"expected a name or number after '.', found {name}", name.Line),
        };
    }

    private Expr Subscript(Expr node)
    {
        int line = Next().Line;
        var keys = new List<Expr>();
        Expr? slice = null;
        while (!Current.IsOperator("]"))
        {
            if (keys.Count > 0 || slice is not null) ExpectOperator(",");
            Expr? start = Current.IsOperator(":") ? null : Expression();
            if (!SkipOperator(":"))
            {
                keys.Add(start!);
                continue;
            }

            if (slice is not null || keys.Count > 0) throw TemplateFault.Unsupported("a subscript of several slices", line);
            Expr? stop = Current.Kind == TokenKind.Operator && Current.Text is ":" or "]" or "," ? null : Expression();
            Expr? step = SkipOperator(":") && !Current.IsOperator("]") && !Current.IsOperator(",") ? Expression() : null;
            slice = new SliceExpr(line, node, start, stop, step);
        }

        _at++;
        if (slice is not null) return keys.Count == 0 ? slice : throw TemplateFault.Unsupported("a subscript of several slices", line);
        return new ItemExpr(line, node, keys.Count == 1 ? keys[0] : new TupleExpr(line, keys));
    }

    private CallExpr CallOf(Expr node)
    {
        int line = Current.Line;
        return new CallExpr(line, node, Arguments());
    }

    private ArgumentList Arguments()
    {
        int line = Current.Line;
        ExpectOperator("(");
        var positional = new List<Expr>();
        var keyword = new List<(string, Expr)>();
        Expr? spread = null, spreadNamed = null;
        bool comma = false;
        while (!Current.IsOperator(")"))
        {
            if (comma)
            {
                ExpectOperator(",");
                if (Current.IsOperator(")")) break;
            }

            comma = true;
            bool allowed;
            if (SkipOperator("*"))
            {
                allowed = spread is null && spreadNamed is null;
                spread = Expression();
            }
            else if (SkipOperator("**"))
            {
                allowed = spreadNamed is null;
                spreadNamed = Expression();
            }
            else if (Current.Kind == TokenKind.Name && Look.IsOperator("="))
            {
                allowed = spreadNamed is null;
                string name = Current.Text;
                _at += 2;
                if (keyword.Any(k => k.Item1 == name)) throw Fail($"the argument '{name}' is given twice");
                keyword.Add((name, Expression()));
            }
            else
            {
                allowed = spread is null && spreadNamed is null && keyword.Count == 0;
                positional.Add(Expression());
            }

            if (!allowed) throw Fail("the arguments of a call are in the wrong order", line);
        }

        ExpectOperator(")");
        return new ArgumentList(positional, keyword, spread, spreadNamed);
    }

    private Expr? FilterChain(Expr? node, bool inline = false)
    {
        while (inline || Current.IsOperator("|"))
        {
            if (!inline) _at++;
            inline = false;
            int line = Current.Line;
            string name = DottedName();
            ArgumentList arguments = Current.IsOperator("(") ? Arguments() : ArgumentList.Empty;
            var filter = new FilterExpr(line, node, name, arguments);
            if (!filter.IsKnown) _unknown.Add((filter, filter.Fault(line)));
            node = filter;
        }

        return node;
    }

    private string DottedName()
    {
        string name = ExpectName();
        while (SkipOperator(".")) name += "." + ExpectName();
        return name;
    }

    private Expr Test(Expr node)
    {
        int line = Next().Line;
        bool negated = SkipName("not");
        string name = DottedName();
        ArgumentList arguments = ArgumentList.Empty;
        if (Current.IsOperator("("))
        {
            arguments = Arguments();
        }
        else if (StartsArgument())
        {
            if (Current.IsName("is")) throw Fail("tests can't be chained with 'is'");
            Deeper();
            arguments = new ArgumentList([Postfix(Primary())], [], null, null);
            _depth--;
        }

        var test = new TestExpr(line, node, name, arguments);
        if (!test.IsKnown) _unknown.Add((test, test.Fault(line)));
        return negated ? new NotExpr(line, test) : test;
    }

    private bool StartsArgument() => Current.Kind switch
    {
        TokenKind.Name => Current.Text is not ("else" or "or" or "and"),
        TokenKind.Text or TokenKind.Integer or TokenKind.Float => true,
        TokenKind.Operator => Current.Text is "[" or "{",
        _ => false,
    };
}

namespace LoraNet.Tensors.Autograd;

/// <summary>
/// A coarse tape: it records fused operations, each a <see cref="TapeNode"/> whose forward and backward stand in one file.
/// Only operations with a trainable ancestor are recorded, so frozen parts below the lowest adapter cost nothing in the
/// backward. Nodes and tensors are recycled: a steady-state step allocates nothing.
/// Reference rules: an operation returns a tensor with one reference that the caller releases; a node retains what its
/// backward reads and lets go after it ran.
/// </summary>
public sealed class Tape
{
    private readonly List<TapeNode> _nodes = [];
    private readonly Dictionary<Type, Stack<TapeNode>> _pool = [];
    private Tape? _inner;

    /// <summary>Creates an empty tape that rents from <paramref name="arena"/>.</summary>
    public Tape(Arena arena) => Arena = arena;

    /// <summary>Lends the temporary tensors.</summary>
    public Arena Arena { get; }

    /// <summary>Runs the operations.</summary>
    public Backend Backend => Arena.Backend;

    /// <summary>Another tape over the same arena, kept for parts that go back before the rest does; empty between uses.</summary>
    public Tape Inner
    {
        get
        {
            _inner ??= new Tape(Arena);
            _inner.Policy = Policy;
            return _inner;
        }
    }

    /// <summary>False while evaluating: nothing is recorded.</summary>
    public bool Recording { get; set; } = true;

    /// <summary>What recorded operations keep.</summary>
    public ActivationPolicy Policy { get; set; }

    /// <summary>Number of recorded operations.</summary>
    public int Count => _nodes.Count;

    /// <summary>True when an operation on <paramref name="x"/> must be recorded.</summary>
    public bool Tracks(Tensor x) => Recording && x.RequiresGrad;

    /// <summary>Lends an activation of the backend's compute type.</summary>
    public Tensor Rent(params ReadOnlySpan<int> shape) => Arena.Rent(Backend.ComputeType, shape);

    /// <summary>Takes a node object for an operation whose output is <paramref name="output"/>, marks the output as tracked and records it.</summary>
    public T Record<T>(Tensor output) where T : TapeNode, new()
    {
        T node = _pool.TryGetValue(typeof(T), out Stack<TapeNode>? stack) && stack.Count > 0 ? (T)stack.Pop() : new T();
        node.Output = output;
        output.RequiresGrad = true;
        Arena.RetainSlot(output);
        _nodes.Add(node);
        return node;
    }

    /// <summary>Runs all nodes in reverse. Gradients of outputs must have been set (<see cref="Tensor.Grad"/>); nodes whose output got none are skipped.</summary>
    public void Backward()
    {
        for (int i = _nodes.Count - 1; i >= 0; i--)
        {
            TapeNode node = _nodes[i];
            Tensor output = node.Output;
            Tensor? gradient = output.Grad;
            output.Grad = null;
            if (gradient is not null) node.Backward(this, gradient);
            Arena.Release(gradient);
            Retire(node);
            // One by one, so that Clear finds what is left when a backward throws.
            _nodes.RemoveAt(i);
        }
    }

    /// <summary>Forgets everything recorded without running it, also what an operation that threw has left.</summary>
    public void Clear()
    {
        _inner?.Clear();
        for (int i = _nodes.Count - 1; i >= 0; i--)
        {
            Tensor? gradient = _nodes[i].Output.Grad;
            _nodes[i].Output.Grad = null;
            Arena.Release(gradient);
            Retire(_nodes[i]);
        }
        _nodes.Clear();
    }

    /// <summary>
    /// The buffer that receives the gradient of <paramref name="x"/>: new, or the one that holds earlier contributions
    /// (then <paramref name="accumulate"/> is true). A buffer that another node still reads is copied first.
    /// </summary>
    public Tensor GradientTarget(Tensor x, out bool accumulate)
    {
        accumulate = x.Grad is not null;
        if (x.Grad is null)
        {
            x.Grad = Arena.Rent(x.DType, x.GetShapeSpan(stackalloc int[4]));
        }
        else if (x.Grad.Home is not null && x.Grad.References > 1)
        {
            Tensor copy = Arena.Rent(x.DType, x.GetShapeSpan(stackalloc int[4]));
            Backend.Scale(x.Grad, 1, copy);
            Arena.Release(x.Grad);
            x.Grad = copy;
        }
        return x.Grad;
    }

    /// <summary>Adds a finished gradient to <paramref name="x"/>; the buffer is shared, not copied, when it is the first.</summary>
    public void AddGradient(Tensor x, Tensor gradient)
    {
        if (!x.RequiresGrad) return;
        if (x.Grad is null)
        {
            Arena.Retain(gradient);
            x.Grad = gradient;
            return;
        }
        Tensor target = GradientTarget(x, out _);
        Backend.Scale(gradient, 1, target, accumulate: true);
    }

    private void Retire(TapeNode node)
    {
        node.ReleaseSaved();
        Arena.ReleaseSlot(node.Output);
        node.Output = null!;
        if (!_pool.TryGetValue(node.GetType(), out Stack<TapeNode>? stack)) _pool[node.GetType()] = stack = new Stack<TapeNode>();
        stack.Push(node);
    }
}

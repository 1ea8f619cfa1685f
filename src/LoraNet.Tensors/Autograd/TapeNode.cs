namespace LoraNet.Tensors.Autograd;

/// <summary>One recorded operation. Derived classes hold what the backward needs and are recycled.</summary>
public abstract class TapeNode
{
    private readonly List<Tensor> _values = [];
    private readonly List<Tensor> _slots = [];

    /// <summary>The operation's output; its gradient arrives before <see cref="Backward"/> is called.</summary>
    public Tensor Output { get; internal set; } = null!;

    /// <summary>Adds to the gradients of the inputs, given that of the output.</summary>
    public abstract void Backward(Tape tape, Tensor outputGradient);

    /// <summary>Keeps the elements of <paramref name="tensor"/> until the backward ran.</summary>
    protected internal Tensor Save(Tensor tensor)
    {
        Arena.Retain(tensor);
        _values.Add(tensor);
        return tensor;
    }

    /// <summary>Keeps only the place for the gradient of <paramref name="tensor"/>, not its elements.</summary>
    protected internal Tensor SaveSlot(Tensor tensor)
    {
        Arena.RetainSlot(tensor);
        _slots.Add(tensor);
        return tensor;
    }

    internal void ReleaseSaved()
    {
        foreach (Tensor tensor in _values) Arena.Release(tensor);
        foreach (Tensor tensor in _slots) Arena.ReleaseSlot(tensor);
        _values.Clear();
        _slots.Clear();
        Forget();
    }

    /// <summary>Drops references to objects other than saved tensors.</summary>
    protected virtual void Forget() { }
}

namespace LoraNet.Tensors.Autograd;

/// <summary>One recorded operation. Derived classes hold what the backward needs and are recycled.</summary>
public abstract class TapeNode
{
    private readonly List<Tensor> _values = [];
    private readonly List<Tensor> _slots = [];
    private readonly List<Tensor> _rebuilt = [];

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

    /// <summary>Keeps the elements of <paramref name="tensor"/> for the backward, or, where <see cref="Tape.Policy"/> says so and its operation
    /// can, only the place in which <see cref="Load"/> computes them again.</summary>
    protected internal Tensor SaveOrRebuild(Tape tape, Tensor tensor)
    {
        if (tensor.Maker is not { } maker || tape.Policy < maker.From) return Save(tensor);
        tensor.Rebuilders++;
        _rebuilt.Add(tensor);
        return SaveSlot(tensor);
    }

    /// <summary>Makes sure that the elements of a tensor from <see cref="SaveOrRebuild"/> are there, until this backward ends.</summary>
    protected void Load(Tape tape, Tensor tensor)
    {
        // Operations run back in reverse, so the maker has not been retired yet.
        if (tensor.References > 0 || tensor.Rebuilders == 0) return;
        Arena.Restore(tensor);
        tensor.Rebuilt = true;
        tensor.Maker!.Rebuild(tape, tensor);
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
        foreach (Tensor tensor in _rebuilt)
        {
            // The last backward that counts on the elements lets them go, if any backward asked for them.
            if (--tensor.Rebuilders > 0 || !tensor.Rebuilt) continue;
            tensor.Rebuilt = false;
            Arena.Release(tensor);
        }
        _rebuilt.Clear();
        foreach (Tensor tensor in _values) Arena.Release(tensor);
        foreach (Tensor tensor in _slots) Arena.ReleaseSlot(tensor);
        _values.Clear();
        _slots.Clear();
        Forget();
    }

    /// <summary>Drops references to objects other than saved tensors.</summary>
    protected virtual void Forget() { }
}

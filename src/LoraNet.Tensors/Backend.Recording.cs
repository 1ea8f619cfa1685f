namespace LoraNet.Tensors;

/// <summary>Numbers that may differ from one replay of recorded work to the next; the recorded operations read them from memory.</summary>
/// <param name="GradScale">The gradient scale of <see cref="Backend.CrossEntropy"/>.</param>
/// <param name="Step">The optimizer step of dropout keys.</param>
public readonly record struct ReplayValues(float GradScale, uint Step);

/// <summary>Operations that were recorded once and are queued again with one call, on the same tensors.</summary>
public interface IRecordedWork : IDisposable
{
    /// <summary>False when memory it uses has moved meanwhile; then it must be recorded again.</summary>
    bool IsValid { get; }

    /// <summary>Queues the operations.</summary>
    void Replay(ReplayValues values);
}

public abstract partial class Backend
{
    /// <summary>True when <see cref="Record"/> can work: a device whose launches cost more than their arguments.</summary>
    public virtual bool CanRecord => false;

    /// <summary>Batches whose numbers of rows round up to the same multiple of this may as well be padded to it: products work on whole tiles.</summary>
    public virtual int RecordedRowMultiple => 128;

    /// <summary>
    /// Runs <paramref name="body"/> without its operations: memory is reserved, frozen weights go to the device, and kernels begin to
    /// compile in the background, all at once instead of one after the other. Contents of tensors are undefined afterwards where the
    /// body would have written them. Does nothing on hosts, where there is nothing to compile.
    /// </summary>
    /// <returns>True when the body neither copied to the device nor read back, so that it can be recorded.</returns>
    public virtual bool Rehearse(Action body) => false;

    /// <summary>Records the operations of <paramref name="body"/> without running them. The body must have been rehearsed; it may neither
    /// upload nor read back, and the tensors it uses must stay where they are.</summary>
    /// <param name="values">Values the body passes as gradient scale and dropout step.</param>
    /// <param name="body">The operations.</param>
    public virtual IRecordedWork Record(ReplayValues values, Action body) => throw new NotSupportedException($"{Name} does not record.");

    /// <summary>Gives a layout that recorded work uses the ranges of another one of the same sizes.</summary>
    /// <returns>False when recorded work could not serve the new ranges.</returns>
    public virtual bool TryReplace(AttentionLayout recorded, AttentionLayout next) => false;
}

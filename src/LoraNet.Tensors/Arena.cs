namespace LoraNet.Tensors;

/// <summary>A piece of backend memory that the arena lends out again and again.</summary>
public sealed class ArenaBlock
{
    internal ArenaBlock(nint address, long bytes) => (Address, Bytes) = (address, bytes);

    /// <summary>Start of the block, aligned to at least 256 bytes.</summary>
    public nint Address { get; }

    /// <summary>Size of the block in bytes.</summary>
    public long Bytes { get; }
}

/// <summary>
/// Lends the temporary tensors of training steps. Blocks are kept when returned and lent again by best fit, and tensor
/// objects are recycled, so that after the first step of a shape nothing is allocated on either heap.
/// Not thread-safe: one arena serves one training or generation loop; several loops use several arenas.
/// </summary>
public sealed class Arena : IDisposable
{
    private const int Alignment = 256;
    private readonly List<ArenaBlock> _free = [];
    private readonly Stack<Tensor> _objects = new();
    private readonly List<ArenaBlock> _all = [];

    /// <summary>Creates an empty arena on <paramref name="backend"/>.</summary>
    public Arena(Backend backend) => Backend = backend;

    /// <summary>The backend whose memory is lent.</summary>
    public Backend Backend { get; }

    /// <summary>Bytes taken from the backend so far.</summary>
    public long ReservedBytes { get; private set; }

    /// <summary>Tensors lent and not yet returned.</summary>
    public int Live { get; private set; }

    /// <summary>Lends a tensor with undefined contents and one reference.</summary>
    public Tensor Rent(DType dtype, params ReadOnlySpan<int> shape)
    {
        Tensor tensor = _objects.Count > 0 ? _objects.Pop() : new Tensor();
        Initialise(tensor, dtype, shape);
        tensor.Block = TakeBlock(Math.Max(1, tensor.Bytes));
        tensor.Address = tensor.Block.Address;
        return tensor;
    }

    /// <summary>A tensor like <paramref name="saved"/> with undefined contents: in the same memory when the caller holds the only
    /// reference to its elements, which are lost then.</summary>
    internal Tensor TakeOver(Tensor saved) => IsSole(saved)
        ? View(saved, saved.Rows, saved.Columns)
        : Rent(saved.DType, saved.Rows, saved.Columns);

    /// <summary>True when the caller, who holds a reference, is the only one who can see the elements: they may be overwritten.</summary>
    public static bool IsSole(Tensor tensor) => tensor.References == 1 && tensor.Block is not null;

    /// <summary>The same elements under another shape; holds a reference to <paramref name="tensor"/>. Not tracked.</summary>
    public Tensor View(Tensor tensor, params ReadOnlySpan<int> shape)
    {
        Tensor view = _objects.Count > 0 ? _objects.Pop() : new Tensor();
        Initialise(view, tensor.DType, shape);
        if (view.Count != tensor.Count) throw new ArgumentException($"{tensor.ShapeText} cannot be seen as {view.ShapeText}.");
        view.ViewOf = tensor;
        view.Address = tensor.Address;
        Retain(tensor);
        return view;
    }

    private void Initialise(Tensor tensor, DType dtype, ReadOnlySpan<int> shape)
    {
        tensor.Backend = Backend;
        tensor.DType = dtype;
        tensor.SetShape(shape);
        tensor.Home = this;
        tensor.References = 1;
        tensor.SlotReferences = 0;
        tensor.RequiresGrad = false;
        tensor.Grad = null;
        tensor.Block = null;
        tensor.ViewOf = null;
        tensor.Maker = null;
        tensor.Rebuilders = 0;
        tensor.Rebuilt = false;
        Live++;
    }

    /// <summary>Entries [first, first + count) of the leading dimension; holds a reference to <paramref name="tensor"/>. Not tracked.</summary>
    public Tensor Slice(Tensor tensor, int first, int count)
    {
        if (first < 0 || count < 0 || first + count > tensor[0]) throw new ArgumentOutOfRangeException(nameof(first));
        Span<int> shape = stackalloc int[4];
        ReadOnlySpan<int> full = tensor.GetShapeSpan(shape);
        long stride = 1;
        for (int i = 1; i < full.Length; i++) stride *= full[i];
        shape[0] = count;
        Tensor slice = _objects.Count > 0 ? _objects.Pop() : new Tensor();
        Initialise(slice, tensor.DType, shape[..full.Length]);
        slice.ViewOf = tensor;
        slice.Address = tensor.Address + (nint)(first * stride * tensor.DType.Size());
        Retain(tensor);
        return slice;
    }

    /// <summary>Adds a reference to the elements. Parameters and other tensors outside any arena are not counted.</summary>
    public static void Retain(Tensor tensor)
    {
        if (tensor.Home is not null) tensor.References++;
    }

    /// <summary>
    /// Keeps the tensor object, and with it the place where its gradient arrives, but not its elements: a node that needs
    /// only the gradient of an activation lets the activation's memory go.
    /// </summary>
    public static void RetainSlot(Tensor tensor)
    {
        if (tensor.Home is not null) tensor.SlotReferences++;
    }

    /// <summary>Drops a reference to the elements; at zero their memory returns to the arena. Null is allowed.</summary>
    public static void Release(Tensor? tensor)
    {
        if (tensor?.Home is not { } home) return;
        if (--tensor.References > 0) return;
        if (tensor.References < 0) throw new InvalidOperationException("A tensor was released more often than retained.");
        Tensor? viewOf = tensor.ViewOf;
        if (tensor.Block is not null) home.ReturnBlock(tensor.Block);
        tensor.Block = null;
        tensor.ViewOf = null;
        tensor.Address = 0;
        if (tensor.SlotReferences == 0) home.Recycle(tensor);
        Release(viewOf);
    }

    /// <summary>Drops a reference taken by <see cref="RetainSlot"/>.</summary>
    public static void ReleaseSlot(Tensor? tensor)
    {
        if (tensor?.Home is not { } home) return;
        if (--tensor.SlotReferences == 0 && tensor.References == 0) home.Recycle(tensor);
    }

    /// <summary>Gives a tensor whose elements were let go memory again, with one reference and undefined contents.</summary>
    internal static void Restore(Tensor tensor)
    {
        tensor.Block = tensor.Home!.TakeBlock(Math.Max(1, tensor.Bytes));
        tensor.Address = tensor.Block.Address;
        tensor.References = 1;
    }

    private void Recycle(Tensor tensor)
    {
        Tensor? grad = tensor.Grad;
        tensor.Grad = null;
        tensor.Home = null;
        Live--;
        _objects.Push(tensor);
        Release(grad);
    }

    /// <summary>Frees all blocks that are not lent.</summary>
    public void Trim()
    {
        foreach (ArenaBlock block in _free)
        {
            Backend.FreeMemory(block.Address);
            ReservedBytes -= block.Bytes;
            _all.Remove(block);
        }
        _free.Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ArenaBlock block in _all) Backend.FreeMemory(block.Address);
        _all.Clear();
        _free.Clear();
        ReservedBytes = 0;
    }

    private ArenaBlock TakeBlock(long bytes)
    {
        bytes = (bytes + Alignment - 1) / Alignment * Alignment;
        // _free is sorted by size: the first large enough is the best fit. A block more than twice the size is left alone.
        int index = LowerBound(bytes);
        if (index < _free.Count && _free[index].Bytes <= Math.Max(2 * bytes, 65536))
        {
            ArenaBlock found = _free[index];
            _free.RemoveAt(index);
            return found;
        }
        ArenaBlock block = new(Backend.AllocateMemory(bytes), bytes);
        _all.Add(block);
        ReservedBytes += bytes;
        return block;
    }

    private void ReturnBlock(ArenaBlock block) => _free.Insert(LowerBound(block.Bytes), block);

    private int LowerBound(long bytes)
    {
        int low = 0, high = _free.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_free[middle].Bytes < bytes) low = middle + 1;
            else high = middle;
        }
        return low;
    }
}

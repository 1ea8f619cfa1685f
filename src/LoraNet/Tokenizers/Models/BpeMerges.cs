using System.Numerics;
using System.Runtime.CompilerServices;

namespace LoraNet.Tokenizers;

/// <summary>
/// The merge rules of a byte-pair encoding: (left id, right id) to (rank, merged id), in an open-addressed table,
/// because this lookup is the inner loop of encoding.
/// </summary>
internal sealed class BpeMerges
{
    private readonly struct Slot(ulong key, int rank, int id)
    {
        public readonly ulong Key = key;
        public readonly int Rank = rank;
        public readonly int Id = id;
    }

    private Slot[] _slots;
    private int _mask;
    private int _shift;

    /// <param name="capacity">The expected number of rules.</param>
    public BpeMerges(int capacity)
    {
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 2L));
        _slots = new Slot[size];
        _mask = size - 1;
        _shift = 64 - BitOperations.Log2((uint)size);
    }

    public int Count { get; private set; }

    /// <summary>Adds a rule; a repeated pair takes the new rank and result.</summary>
    public void Set(int left, int right, int rank, int id)
    {
        if (2L * (Count + 1) > _slots.Length) Grow();
        ulong key = Key(left, right);
        int i = Index(key);
        while (_slots[i].Key != 0 && _slots[i].Key != key) i = (i + 1) & _mask;
        if (_slots[i].Key == 0) Count++;
        _slots[i] = new Slot(key, rank, id);
    }

    /// <summary>Looks up a pair; a lower rank merges earlier.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryGet(int left, int right, out int rank, out int id)
    {
        ulong key = Key(left, right);
        Slot[] slots = _slots;
        int i = Index(key);
        while (true)
        {
            ref readonly Slot slot = ref slots[i];
            if (slot.Key == key)
            {
                rank = slot.Rank;
                id = slot.Id;
                return true;
            }
            if (slot.Key == 0)
            {
                rank = int.MaxValue;
                id = -1;
                return false;
            }
            i = (i + 1) & _mask;
        }
    }

    // Keys start at 1 so that 0 can mean an empty slot.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Key(int left, int right) => (((ulong)(uint)left << 32) | (uint)right) + 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Index(ulong key) => (int)((key * 0x9E3779B97F4A7C15UL) >> _shift) & _mask;

    private void Grow()
    {
        Slot[] old = _slots;
        _slots = new Slot[checked(old.Length * 2)];
        _mask = _slots.Length - 1;
        _shift--;
        foreach (Slot slot in old)
        {
            if (slot.Key == 0) continue;
            int i = Index(slot.Key);
            while (_slots[i].Key != 0) i = (i + 1) & _mask;
            _slots[i] = slot;
        }
    }
}

using LoraNet.Tensors;

namespace LoraNet.Training;

/// <summary>
/// Which rows each optimizer step trains: a function of seed, number of rows and step alone, so that a resumed run needs
/// no cursor but its step number. Each epoch is a fresh permutation (Fisher and Yates); its last step may be smaller.
/// </summary>
public sealed class RowOrder
{
    private readonly ulong _seed;
    private readonly bool _shuffle;
    private int _epoch = -1;
    private int[] _order = [];

    /// <summary>Creates the order.</summary>
    /// <param name="count">Rows of the data set.</param>
    /// <param name="rowsPerStep">Batch size times gradient accumulation.</param>
    /// <param name="seed">Seed of the permutations.</param>
    /// <param name="shuffle">False keeps the file's order in every epoch.</param>
    public RowOrder(int count, int rowsPerStep, ulong seed, bool shuffle)
    {
        (Count, RowsPerStep, _seed, _shuffle) = (count, rowsPerStep, seed, shuffle);
        StepsPerEpoch = (count + rowsPerStep - 1) / rowsPerStep;
    }

    /// <summary>Rows of the data set.</summary>
    public int Count { get; }

    /// <summary>Rows of a full step.</summary>
    public int RowsPerStep { get; }

    /// <summary>Steps of an epoch, the last one possibly smaller.</summary>
    public int StepsPerEpoch { get; }

    /// <summary>Row numbers of step <paramref name="step"/> (from 0).</summary>
    public ReadOnlySpan<int> Rows(int step)
    {
        int epoch = step / StepsPerEpoch;
        if (epoch != _epoch) Permute(epoch);
        int first = step % StepsPerEpoch * RowsPerStep;
        return _order.AsSpan(first, Math.Min(RowsPerStep, Count - first));
    }

    private void Permute(int epoch)
    {
        if (_order.Length != Count) _order = new int[Count];
        for (int i = 0; i < Count; i++) _order[i] = i;
        _epoch = epoch;
        if (!_shuffle) return;
        DropoutKey key = DropoutKey.Create(_seed, "row order", "", (uint)epoch);
        for (int i = Count - 1; i > 0; i--)
        {
            (uint high, uint low, _, _) = Philox.Block(key, i, 0);
            ulong word = ((ulong)high << 32) | low;
            int j = (int)Math.BigMul(word, (ulong)(i + 1), out ulong _);
            (_order[i], _order[j]) = (_order[j], _order[i]);
        }
    }
}

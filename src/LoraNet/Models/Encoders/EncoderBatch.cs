using System.Runtime.InteropServices;
using LoraNet.Data;
using LoraNet.Tensors;

namespace LoraNet.Models.Encoders;

/// <summary>
/// A batch without padding: the real tokens of all rows one after another, each row a segment that attention does not leave.
/// Results equal those of a padded batch.
/// </summary>
public sealed class EncoderBatch : IDisposable
{
    private readonly Backend _backend;

    internal EncoderBatch(Backend backend, EncoderRows rows, EncoderOptions options)
    {
        _backend = backend;
        Tokens = rows.Ids.Count;
        Labels = [.. rows.Labels];
        Segments = [.. rows.Segments];
        Ids = Index(rows.Ids);
        Positions = Index(rows.Positions);
        Types = Index(rows.Types);
        FirstTokens = Index(rows.FirstTokens);
        Targets = options.Regression ? backend.Create(backend.ComputeType, Rows, 1) : backend.Create(DType.I32, Rows);
        UploadTargets();
        Layout = AttentionLayout.Packed(Segments, causal: false);
    }

    /// <summary>Number of samples.</summary>
    public int Rows => Labels.Length;

    /// <summary>Number of real tokens.</summary>
    public int Tokens { get; }

    /// <summary>Real tokens of each sample.</summary>
    public int[] Segments { get; private set; }

    /// <summary>Class or value of each sample.</summary>
    public double[] Labels { get; }

    /// <summary>Token ids [Tokens].</summary>
    public Tensor Ids { get; }

    /// <summary>Rows of the position embedding [Tokens].</summary>
    public Tensor Positions { get; }

    /// <summary>Rows of the token-type embedding [Tokens].</summary>
    public Tensor Types { get; }

    /// <summary>Row of the first token of each sample [Rows]: what the head reads.</summary>
    public Tensor FirstTokens { get; }

    /// <summary>What the loss compares logits with: the classes [Rows] as I32, or minus the values [Rows, 1] in the compute type.</summary>
    internal Tensor Targets { get; }

    /// <summary>Visible keys: the whole sample.</summary>
    public AttentionLayout Layout { get; }

    /// <summary>Unpads rows.</summary>
    /// <param name="backend">Where ids and positions are put.</param>
    /// <param name="rows">The samples.</param>
    /// <param name="options">The model: vocabulary, positions and labels must fit it.</param>
    /// <exception cref="LoraNetException">A row is empty, padded on the left or too long, lengths disagree, or an id or label is out of range.</exception>
    public static EncoderBatch Create(Backend backend, IReadOnlyList<ClassificationRow> rows, EncoderOptions options)
    {
        EncoderRows unpadded = new();
        unpadded.Fill(rows, options);
        return new EncoderBatch(backend, unpadded, options);
    }

    /// <summary>Puts other samples into the tensors and the layout that recorded work reads; only that work may use the batch afterwards.
    /// False, with undefined contents, when sizes differ or the backend cannot move the layout.</summary>
    internal bool TryTake(EncoderRows rows)
    {
        if (Tokens != rows.Ids.Count || Rows != rows.Labels.Count) return false;
        if (!CollectionsMarshal.AsSpan(rows.Segments).SequenceEqual(Segments))
        {
            Segments = [.. rows.Segments];
            if (!_backend.TryReplace(Layout, AttentionLayout.Packed(Segments, causal: false)))
            {
                // The next rows must not look like the ones that are there.
                Segments = [];
                return false;
            }
        }
        Upload(rows.Ids, Ids);
        Upload(rows.Positions, Positions);
        Upload(rows.Types, Types);
        Upload(rows.FirstTokens, FirstTokens);
        rows.Labels.CopyTo(Labels);
        UploadTargets();
        return true;
    }

    private void UploadTargets()
    {
        if (Targets.DType == DType.I32) _backend.UploadBytes(MemoryMarshal.AsBytes([.. Labels.Select(l => (int)l)]), Targets);
        else _backend.Upload([.. Labels.Select(l => (float)-l)], Targets);
    }

    private Tensor Index(List<int> values) => _backend.CreateIndex(CollectionsMarshal.AsSpan(values));

    private void Upload(List<int> values, Tensor destination) => _backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(values)), destination);

    /// <inheritdoc/>
    public void Dispose()
    {
        (Layout.Prepared as IDisposable)?.Dispose();
        _backend.Free(Ids);
        _backend.Free(Positions);
        _backend.Free(Types);
        _backend.Free(FirstTokens);
        _backend.Free(Targets);
    }
}

using LoraNet.Lora;
using LoraNet.Models;

namespace LoraNet.Adapters;

/// <summary>
/// One tensor of an adapter file and how it maps to parameters. Layers that took a part of the base when they began (PiSSA,
/// OLoRA) are stored as plain LoRA of twice the rank, A' = [A; A₀] and B' = [B, −B₀], which any reader applies to the
/// original base.
/// </summary>
/// <param name="Name">Name without PEFT's prefix.</param>
/// <param name="Shape">Shape in the file.</param>
/// <param name="Get">Reads the values.</param>
/// <param name="Set">Overwrites the values.</param>
/// <param name="Own">The parameter without the part taken from the base.</param>
internal sealed record StoredTensor(string Name, int[] Shape, Func<float[]> Get, Action<float[]> Set, Parameter Own)
{
    /// <summary>What stands before the name in the file.</summary>
    public string Root { get; init; } = AdapterTensors.Prefix;

    /// <summary>The tensor's name in the file.</summary>
    public string Key => Root + Name;

    /// <summary>The tensors of an adapter, each name once.</summary>
    public static IEnumerable<StoredTensor> Of(LoraAdapter adapter) =>
        adapter.Layers.Values.SelectMany(OfLayer).Concat(adapter.Parts.SelectMany(p => p.Stored)).Concat(adapter.Overrides.Select(o => Plain(o.Copy))).DistinctBy(t => t.Name);

    /// <summary>[A; A₀] as stored.</summary>
    public static float[] JoinA(LoraLayer layer) => [.. layer.A.ToFile(), .. layer.Initial!.A.ToFile()];

    /// <summary>[B, −B₀] as stored, row-major [out, 2r].</summary>
    public static float[] JoinB(LoraLayer layer)
    {
        float[] b = layer.B.ToFile(), taken = layer.Initial!.B.ToFile();
        int r = layer.Rank, rows = b.Length / r;
        float[] joined = new float[2 * b.Length];
        for (int o = 0; o < rows; o++)
        {
            b.AsSpan(o * r, r).CopyTo(joined.AsSpan(2 * o * r, r));
            for (int i = 0; i < r; i++) joined[(2 * o + 1) * r + i] = -taken[o * r + i];
        }
        return joined;
    }

    private static IEnumerable<StoredTensor> OfLayer(LoraLayer layer)
    {
        if (layer.Initial is not { } initial) return layer.Parameters.Select(Plain);
        int[] a = layer.A.FileShape, b = layer.B.FileShape;
        StoredTensor down = new(layer.A.Name, [2 * a[0], a[1]], () => JoinA(layer), values =>
        {
            layer.A.FromFile(values.AsSpan(0, values.Length / 2));
            initial.A.FromFile(values.AsSpan(values.Length / 2));
        }, layer.A);
        StoredTensor up = new(layer.B.Name, [b[0], 2 * b[1]], () => JoinB(layer), values =>
        {
            int r = b[1];
            float[] own = new float[values.Length / 2], taken = new float[values.Length / 2];
            for (int o = 0; o < b[0]; o++)
            {
                values.AsSpan(2 * o * r, r).CopyTo(own.AsSpan(o * r, r));
                for (int i = 0; i < r; i++) taken[o * r + i] = -values[(2 * o + 1) * r + i];
            }
            layer.B.FromFile(own);
            initial.B.FromFile(taken);
        }, layer.B);
        return [down, up, .. layer.Parameters.Skip(2).Select(Plain)];
    }

    /// <summary>A parameter stored as it is.</summary>
    public static StoredTensor Plain(Parameter p) => new(p.Name, p.FileShape, () => p.ToFile(), values => p.FromFile(values), p);
}

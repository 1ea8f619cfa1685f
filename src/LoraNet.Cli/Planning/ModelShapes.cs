using System.Globalization;
using LoraNet.Models;

namespace LoraNet.Cli.Planning;

/// <summary>Names and shapes of every tensor that a decoder's config.json implies, so that plans and benchmarks need no weights.</summary>
internal static class ModelShapes
{
    /// <summary>All tensors in model order.</summary>
    public static IReadOnlyList<(string Name, int[] Shape)> Of(ModelConfig config, DecoderOptions o)
    {
        List<(string, int[])> tensors = [];
        DecoderNames n = o.Names;
        int hidden = o.HiddenSize, queries = o.Heads * o.HeadSize, keys = o.KeyValueHeads * o.HeadSize;
        // Qwen 2 has biases on q, k and v without saying so; GPT-2 has them everywhere.
        bool everywhere = o.LayerNorm, inputs = everywhere || config.AttentionBias || o.ModelType == "qwen2", output = everywhere || config.AttentionBias, mlp = everywhere || config.MlpBias;
        tensors.Add((n.Embedding + ".weight", [o.VocabularySize, hidden]));
        if (n.PositionEmbedding is { } positions) tensors.Add((positions + ".weight", [config.MaxPositionEmbeddings, hidden]));
        for (int i = 0; i < o.Layers; i++)
        {
            string prefix = string.Format(CultureInfo.InvariantCulture, n.Layer, i) + ".";
            Norm(n.AttentionNorm, hidden);
            if (n.FusedQueryKeyValue is { } fused)
            {
                Linear(fused, queries + 2 * keys, hidden, inputs);
            }
            else
            {
                Linear(n.Query, queries, hidden, inputs);
                Linear(n.Key, keys, hidden, inputs);
                Linear(n.Value, keys, hidden, inputs);
            }
            if (o.QueryKeyNorm != QueryKeyNorm.None)
            {
                Norm(n.QueryNorm, o.QueryKeyNorm == QueryKeyNorm.PerHead ? o.HeadSize : queries);
                Norm(n.KeyNorm, o.QueryKeyNorm == QueryKeyNorm.PerHead ? o.HeadSize : keys);
            }
            Linear(n.Output, hidden, queries, output);
            Norm(n.AttentionPostNorm, hidden);
            Norm(n.MlpNorm, hidden);
            if (n.Router is { } router)
            {
                Linear(router, o.Experts, hidden, false);
                for (int e = 0; e < o.Experts; e++) Mlp(string.Format(CultureInfo.InvariantCulture, n.Expert, e) + ".");
            }
            else
            {
                Mlp("");
            }
            Norm(n.MlpPostNorm, hidden);

            void Mlp(string path)
            {
                if (o.GatedMlp && n.FusedGateUp is { } both)
                {
                    Linear(path + both, 2 * o.IntermediateSize, hidden, mlp);
                }
                else
                {
                    if (o.GatedMlp) Linear(path + n.Gate, o.IntermediateSize, hidden, mlp);
                    Linear(path + n.Up, o.IntermediateSize, hidden, mlp);
                }
                Linear(path + n.Down, hidden, o.IntermediateSize, mlp);
            }

            void Norm(string? name, int width)
            {
                if (name is not null) AddNorm(prefix + name, width);
            }

            void Linear(string name, int rows, int columns, bool bias)
            {
                tensors.Add((prefix + name + ".weight", o.TransposedWeights ? [columns, rows] : [rows, columns]));
                if (bias) tensors.Add((prefix + name + ".bias", [rows]));
            }
        }
        AddNorm(n.FinalNorm, hidden);
        if (!o.TiedEmbeddings) tensors.Add((n.Head + ".weight", [o.VocabularySize, hidden]));
        return tensors;

        void AddNorm(string name, int width)
        {
            tensors.Add((name + ".weight", [width]));
            if (o.LayerNorm) tensors.Add((name + ".bias", [width]));
        }
    }
}

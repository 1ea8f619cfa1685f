using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Models.Encoders;
using LoraNet.Paper.Running;

namespace LoraNet.Paper.Experiments;

/// <summary>The paper's section 7.2: adapters of ranks 8 and 64 from one seed, and of rank 64 from two seeds, on the same task.</summary>
internal static class SubspaceExperiment
{
    public const int Small = 8, Large = 64;

    /// <summary>Trains the three and emits φ of every adapted module, and of a random A for comparison.</summary>
    public static void Run(JobContext context, ulong seed, Func<int, ulong, GlueSettings> settings)
    {
        Dictionary<string, float[]> small = Train(Small, seed, out Dictionary<string, int> widths), large = Train(Large, seed, out _), other = Train(Large, seed + 100, out _);
        foreach ((string path, float[] a) in small)
        {
            int width = widths[path];
            float[] random = new float[Large * width], random2 = new float[Large * width];
            LoraInitializer.Normal(random, 1, seed, "random " + path);
            LoraInitializer.Normal(random2, 1, seed + 100, "random " + path);
            Emit(path, "ranks", SubspaceSimilarity.Compute(a, large[path], width));
            Emit(path, "seeds", SubspaceSimilarity.Compute(large[path], other[path], width));
            Emit(path, "random", SubspaceSimilarity.Compute(random, random2, width));
        }

        Dictionary<string, float[]> Train(int rank, ulong start, out Dictionary<string, int> inputs)
        {
            Dictionary<string, float[]> values = [];
            Dictionary<string, int> sizes = [];
            GlueExperiment.Run(context, "subspace-run", settings(rank, start), (_, adapter) =>
            {
                foreach ((string path, LoraLayer layer) in adapter.Layers)
                {
                    values[path] = SubspaceSimilarity.Values(layer);
                    sizes[path] = values[path].Length / rank;
                }
            });
            inputs = sizes;
            return values;
        }

        void Emit(string path, string pair, double[,] phi)
        {
            JsonArray rows = [];
            for (int i = 0; i < phi.GetLength(0); i++)
            {
                JsonArray row = [];
                for (int j = 0; j < phi.GetLength(1); j++) row.Add(Math.Round(phi[i, j], 4));
                rows.Add(row);
            }
            context.Emit(new JsonObject { ["experiment"] = "subspace", ["seed"] = seed, ["module"] = path, ["pair"] = pair, ["phi"] = rows });
        }
    }
}

using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Paper.Running;

namespace LoraNet.Paper.Experiments;

/// <summary>The paper's section 7.2: adapters of ranks 8 and 64, and of rank 64 again, on the same task.</summary>
internal static class SubspaceExperiment
{
    public const int Small = 8, Large = 64;

    // Leading directions that φ is kept for.
    private static readonly int[] _sizes = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64];

    /// <summary>Trains three adapters, each from a seed of its own (from one seed the A of rank 8 would start as the first rows of the A of
    /// rank 64, and lie in its span before any training), and emits φ of every adapted module, and of random matrices for comparison.</summary>
    /// <param name="context">The run.</param>
    /// <param name="seed">First seed.</param>
    /// <param name="train">Trains an adapter of a rank and seed, and gives it away.</param>
    public static void Run(JobContext context, ulong seed, Action<int, ulong, Action<LoraAdapter>> train)
    {
        Dictionary<string, float[]> small = Train(Small, seed + 200, out Dictionary<string, int> widths), large = Train(Large, seed, out _), other = Train(Large, seed + 100, out _);
        foreach ((string path, float[] a) in small)
        {
            int width = widths[path];
            float[] random = new float[Large * width], random2 = new float[Large * width];
            LoraInitializer.Normal(random, 1, seed, "random " + path);
            LoraInitializer.Normal(random2, 1, seed + 100, "random " + path);
            Emit(path, "ranks", width, SubspaceSimilarity.Compute(a, large[path], width));
            Emit(path, "seeds", width, SubspaceSimilarity.Compute(large[path], other[path], width));
            Emit(path, "random", width, SubspaceSimilarity.Compute(random, random2, width));
        }

        Dictionary<string, float[]> Train(int rank, ulong start, out Dictionary<string, int> inputs)
        {
            Dictionary<string, float[]> values = [];
            Dictionary<string, int> sizes = [];
            train(rank, start, adapter =>
            {
                foreach ((string path, LoraLayer layer) in adapter.Layers)
                {
                    values[path] = layer.A.ToFile();
                    sizes[path] = values[path].Length / rank;
                }
            });
            inputs = sizes;
            return values;
        }

        void Emit(string path, string pair, int width, double[,] phi)
        {
            int[] down = [.. _sizes.Where(n => n <= phi.GetLength(0))], across = [.. _sizes.Where(n => n <= phi.GetLength(1))];
            JsonArray rows = [];
            foreach (int i in down) rows.Add(new JsonArray([.. across.Select(j => JsonValue.Create(Math.Round(phi[i - 1, j - 1], 3)))]));
            context.Emit(new JsonObject
            {
                ["experiment"] = "subspace",
                ["seed"] = seed,
                ["module"] = path,
                ["width"] = width,
                ["pair"] = pair,
                ["i"] = new JsonArray([.. down.Select(n => JsonValue.Create(n))]),
                ["j"] = new JsonArray([.. across.Select(n => JsonValue.Create(n))]),
                ["phi"] = rows,
            });
        }
    }
}

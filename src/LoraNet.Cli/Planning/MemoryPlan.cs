using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Cli.Planning;

/// <summary>Bytes of each part of a training step.</summary>
/// <param name="Weights">The frozen base, tied tensors once.</param>
/// <param name="Adapters">A, B and copies, binary32.</param>
/// <param name="Gradients">Their gradients.</param>
/// <param name="Moments">Both moments of AdamW.</param>
/// <param name="ActivationsPerLayer">What one layer keeps for its backward.</param>
/// <param name="Layers">Layers that keep something: those from the lowest adapted one up.</param>
/// <param name="Workspace">Gradients of activations while one layer is walked back.</param>
/// <param name="LogitsChunk">The largest piece of logits and its gradient.</param>
internal sealed record MemoryPlan(long Weights, long Adapters, long Gradients, long Moments, long ActivationsPerLayer, int Layers, long Workspace, long LogitsChunk)
{
    /// <summary>Activations of all layers.</summary>
    public long Activations => ActivationsPerLayer * Layers;

    /// <summary>Everything.</summary>
    public long Total => Weights + Adapters + Gradients + Moments + Activations + Workspace + LogitsChunk;

    /// <summary>Plans a step of <paramref name="tokens"/> tokens.</summary>
    /// <param name="model">The model; its weights are not read.</param>
    /// <param name="targets">Adapted modules.</param>
    /// <param name="trained">Trained values.</param>
    /// <param name="tokens">Tokens of a micro-batch.</param>
    /// <param name="activationBytes">4 on a CPU, 2 on a GPU.</param>
    /// <param name="weightBytes">Bytes of a weight, or 0 for the stored type.</param>
    public static MemoryPlan Of(CausalLM model, IReadOnlyList<LoraTarget> targets, long trained, long tokens, int activationBytes, double weightBytes = 0)
    {
        DecoderOptions o = model.Options;
        long queries = (long)o.Heads * o.HeadSize, keys = (long)o.KeyValueHeads * o.HeadSize;
        // Kept for backward: both norms' inputs and outputs, q, k, v, attention's output, gate, up, their product where the down
        // projection is adapted, and P of each adapted module. Within 10 % of the CPU's step buffers on Llama and GPT-2 shapes.
        bool down = targets.Any(t => t.Module.Path.EndsWith("." + o.Names.Down, StringComparison.Ordinal)) || targets.Count == 0;
        long inner = (o.GatedMlp ? 2L : 1L) + (down ? 1 : 0);
        long perToken = 4L * o.HiddenSize + 2 * queries + 2 * keys + inner * o.IntermediateSize * Math.Max(1, o.ExpertsPerToken);
        long workspace = tokens * (4L * o.HiddenSize + inner * o.IntermediateSize) * activationBytes;
        int adapted = LowestLayer(model, targets);
        long ranks = targets.Sum(t => (long)t.Rank) / Math.Max(1, o.Layers);
        long weights = model.Modules.SelectMany(m => m.Tensors).DistinctBy(t => t.Source.Address)
            .Sum(t => weightBytes > 0 && t.Source.Shape.Length == 2 ? (long)(t.Source.Count * weightBytes) : t.Source.Count * t.Source.DType.Size());
        long chunk = Math.Min(model.LogitsChunkRows, tokens) * o.VocabularySize * (long)activationBytes;
        return new MemoryPlan(weights, trained * 4, trained * 4, trained * 8, tokens * (perToken + ranks) * activationBytes, o.Layers - adapted, workspace, chunk);
    }

    /// <summary>Floating-point operations of a step per token: 4 per matrix weight (forward, and backward to the input), 2 where backward stops.</summary>
    public static double FlopsPerToken(CausalLM model, IReadOnlyList<LoraTarget> targets, int length)
    {
        DecoderOptions o = model.Options;
        double body = model.Modules.OfType<LinearModule>().Where(m => m.Path != model.OutputHeadPath).Sum(m => (double)m.In * m.Out);
        double head = (double)o.HiddenSize * o.VocabularySize;
        double trainedShare = (o.Layers - LowestLayer(model, targets)) / (double)o.Layers;
        double attention = (2 + 5 * trainedShare) * length * o.Heads * o.HeadSize * o.Layers;
        double adapters = targets.Sum(t => t.Module is LinearModule l ? 6.0 * t.Rank * (l.In + l.Out) : 0);
        return body * (2 + 2 * trainedShare) + 4 * head + attention + adapters;
    }

    private static int LowestLayer(CausalLM model, IReadOnlyList<LoraTarget> targets)
    {
        int lowest = model.Options.Layers;
        foreach (LoraTarget target in targets)
        {
            string? number = target.Module.Path.Split('.').FirstOrDefault(p => p.All(char.IsAsciiDigit));
            if (number is null) continue;
            lowest = Math.Min(lowest, int.Parse(number, System.Globalization.CultureInfo.InvariantCulture));
        }
        return targets.Any(t => t.Module is EmbeddingModule) ? 0 : Math.Min(lowest, model.Options.Layers);
    }
}

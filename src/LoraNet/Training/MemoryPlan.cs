using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>What is kept of a step's forward for its backward. Gradients do not depend on it.</summary>
public enum ActivationChoice
{
    /// <summary><see cref="Norms"/>; where the plan says that it does not fit, more is computed again.</summary>
    Auto,

    /// <summary>Everything: the fastest by one or two percent.</summary>
    Keep,

    /// <summary>All but the outputs of norms.</summary>
    Norms,

    /// <summary>All but the outputs of norms and gated activations, which are cheap to compute again.</summary>
    Selective,

    /// <summary>Only the input of each layer: a third more work, a small part of the memory.</summary>
    Recompute,
}

/// <summary>Bytes of each part of a training step, and what is kept for the backward.</summary>
/// <param name="Weights">The frozen base, tied tensors once.</param>
/// <param name="Adapters">A, B and copies, binary32.</param>
/// <param name="Gradients">Their gradients.</param>
/// <param name="Moments">Both moments of AdamW.</param>
/// <param name="ActivationsPerLayer">What one layer keeps for its backward.</param>
/// <param name="Layers">Layers that keep something: those from the lowest adapted one up.</param>
/// <param name="Recomputed">How many of them keep only their input.</param>
/// <param name="InputPerLayer">That input.</param>
/// <param name="Workspace">Temporaries of the forward and gradients of activations while one layer is walked back.</param>
/// <param name="LogitsChunk">The largest piece of logits and its gradient.</param>
/// <param name="Policy">What a layer that is not recomputed keeps.</param>
public sealed record MemoryPlan(
    long Weights, long Adapters, long Gradients, long Moments, long ActivationsPerLayer, int Layers, int Recomputed, long InputPerLayer,
    long Workspace, long LogitsChunk, ActivationPolicy Policy)
{
    /// <summary>Activations of all layers.</summary>
    public long Activations => ActivationsPerLayer * (Layers - Recomputed) + InputPerLayer * Recomputed;

    /// <summary>Everything.</summary>
    public long Total => Weights + Adapters + Gradients + Moments + Activations + Workspace + LogitsChunk + (Recomputed > 0 ? ActivationsPerLayer : 0);

    /// <summary>Adapted modules and ranks of the model's active adapters.</summary>
    public static IReadOnlyList<(Module Module, int Rank)> Adapted(PretrainedModel model) =>
    [
        .. model.Modules.OfType<LinearModule>().Where(m => m.Active.Count + m.Methods.Count > 0).Select(m => ((Module)m, m.Active.Sum(l => l.Rank) + m.Methods.Sum(l => l.Rank))),
        // An embedding that is trained whole sends the backward down to it, too.
        .. model.Modules.OfType<EmbeddingModule>().Where(m => m.Active.Count > 0 || m.Weight.Override is not null).Select(m => ((Module)m, m.Active.Sum(l => l.Rank))),
    ];

    /// <summary>Plans a step of <paramref name="tokens"/> tokens.</summary>
    /// <param name="model">The model; its weights are not read.</param>
    /// <param name="adapted">Adapted modules and their ranks; none for full fine-tuning.</param>
    /// <param name="trained">Trained values.</param>
    /// <param name="tokens">Tokens of a micro-batch.</param>
    /// <param name="activationBytes">4 on a CPU, 2 for 16-bit types on a GPU.</param>
    /// <param name="choice">What is to be kept.</param>
    /// <param name="available">Bytes of memory, for <see cref="ActivationChoice.Auto"/>.</param>
    /// <param name="weightBytes">Bytes of a weight, or 0 for the stored type.</param>
    public static MemoryPlan Of(
        CausalLM model, IReadOnlyList<(Module Module, int Rank)> adapted, long trained, long tokens, int activationBytes, ActivationChoice choice, long available, double weightBytes = 0)
    {
        if (choice != ActivationChoice.Auto)
        {
            MemoryPlan asked = With(choice switch { ActivationChoice.Keep => ActivationPolicy.Keep, ActivationChoice.Norms => ActivationPolicy.Norms, _ => ActivationPolicy.Selective });
            return choice == ActivationChoice.Recompute ? asked with { Recomputed = asked.Layers } : asked;
        }
        MemoryPlan plan = With(ActivationPolicy.Norms);
        if (plan.Total > available) plan = With(ActivationPolicy.Selective);
        while (plan.Total > available && plan.Recomputed < plan.Layers) plan = plan with { Recomputed = plan.Recomputed + 1 };
        return plan;

        MemoryPlan With(ActivationPolicy policy) => Kept(model, adapted, trained, tokens, activationBytes, policy, weightBytes);
    }

    /// <summary>Floating-point operations of a step per token: 4 per matrix weight (forward, and backward to the input), 2 where backward stops.</summary>
    public static double FlopsPerToken(CausalLM model, IReadOnlyList<(Module Module, int Rank)> adapted, int length)
    {
        DecoderOptions o = model.Options;
        double body = model.Modules.OfType<LinearModule>().Where(m => m.Path != model.OutputHeadPath).Sum(m => (double)m.In * m.Out);
        double head = (double)o.HiddenSize * o.VocabularySize;
        double trainedShare = (o.Layers - LowestLayer(model, adapted)) / (double)o.Layers;
        double attention = (2 + 5 * trainedShare) * length * o.Heads * o.HeadSize * o.Layers;
        double adapters = adapted.Sum(t => t.Module is LinearModule l ? 6.0 * t.Rank * (l.In + l.Out) : 0);
        return body * (2 + 2 * trainedShare) + 4 * head + attention + adapters;
    }

    private static MemoryPlan Kept(
        CausalLM model, IReadOnlyList<(Module Module, int Rank)> adapted, long trained, long tokens, int activationBytes, ActivationPolicy policy, double weightBytes)
    {
        DecoderOptions o = model.Options;
        DecoderNames names = o.Names;
        long queries = (long)o.Heads * o.HeadSize, keys = (long)o.KeyValueHeads * o.HeadSize;
        long intermediate = (long)o.IntermediateSize * Math.Max(1, o.ExpertsPerToken);
        // Kept: both norms' inputs, q, k, v, attention's output, gate and up; where A is trained its input too, unless a norm or a gated
        // activation can write it again; and P of each adapted module.
        long perToken = 2L * o.HiddenSize + 2 * queries + 2 * keys + (o.GatedMlp ? 2 : 1) * intermediate;
        if (policy == ActivationPolicy.Keep && (Any(names.Query) || Any(names.Key) || Any(names.Value) || Any(names.FusedQueryKeyValue))) perToken += o.HiddenSize;
        if (policy == ActivationPolicy.Keep && (Any(names.Gate) || Any(names.Up) || Any(names.FusedGateUp))) perToken += o.HiddenSize;
        if ((policy < ActivationPolicy.Selective || !o.GatedMlp) && Any(names.Down)) perToken += intermediate;
        long workspace = tokens * (4L * o.HiddenSize + (o.GatedMlp ? 1 : 2) * intermediate) * activationBytes;
        int lowest = LowestLayer(model, adapted);
        long ranks = adapted.Sum(t => (long)t.Rank) / Math.Max(1, o.Layers);
        long weights = model.Modules.SelectMany(m => m.Tensors).DistinctBy(t => t.Source.Address)
            .Sum(t => weightBytes > 0 && t.Source.Shape.Length == 2 ? (long)(t.Source.Count * weightBytes) : t.Source.Count * t.Source.DType.Size());
        long chunk = Math.Min(model.LogitsChunkRows, tokens) * o.VocabularySize * (long)activationBytes;
        return new MemoryPlan(
            weights, trained * 4, trained * 4, trained * 8, tokens * (perToken + ranks) * activationBytes, o.Layers - lowest, 0,
            tokens * o.HiddenSize * activationBytes, workspace, chunk, policy);

        bool Any(string? name) => name is not null && (adapted.Count == 0 || adapted.Any(t => t.Module.Path.EndsWith("." + name, StringComparison.Ordinal)));
    }

    private static int LowestLayer(CausalLM model, IReadOnlyList<(Module Module, int Rank)> adapted)
    {
        if (adapted.Count == 0 || adapted.Any(t => t.Module is EmbeddingModule)) return 0;
        int lowest = model.Options.Layers;
        foreach ((Module module, _) in adapted)
        {
            string? number = module.Path.Split('.').FirstOrDefault(p => p.All(char.IsAsciiDigit));
            if (number is not null) lowest = Math.Min(lowest, int.Parse(number, System.Globalization.CultureInfo.InvariantCulture));
        }
        return lowest;
    }
}

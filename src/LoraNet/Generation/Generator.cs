using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Generation;

/// <summary>Generates with a key-value cache, several prompts in one batch. The model's active adapters apply; they may be switched between calls.</summary>
public sealed class Generator : IDisposable
{
    private readonly CausalLM _model;
    private readonly Arena _arena;

    /// <summary>Creates a generator with its own step buffers.</summary>
    public Generator(CausalLM model) => (_model, _arena) = (model, new Arena(model.Backend));

    /// <summary>Continues each prompt.</summary>
    /// <param name="prompts">Token ids; each at least one.</param>
    /// <param name="options">Settings.</param>
    /// <param name="onToken">Called with sequence number and new id as each is chosen (stop ids are not reported); return false to end that sequence.</param>
    /// <param name="cancellationToken">Ends the generation after the token at hand.</param>
    /// <param name="adapters">Adapter of each prompt (<c>__base__</c> for none, null for the active ones), or null when the active ones serve all.</param>
    /// <returns>The new ids of each prompt, without the stop id.</returns>
    /// <exception cref="LoraNetException">A prompt is empty or an id is outside the vocabulary; an adapter is unknown or cannot be chosen by row.</exception>
    public IReadOnlyList<int[]> Generate(IReadOnlyList<int[]> prompts, GenerationOptions options, Func<int, int, bool>? onToken = null, CancellationToken cancellationToken = default, IReadOnlyList<string?>? adapters = null)
    {
        options.Validate();
        if (adapters is not null && adapters.Count != prompts.Count) throw new LoraNetException($"There are {adapters.Count} adapter names for {prompts.Count} prompts.", "Give one name a prompt, __base__ for the base model.");
        for (int i = 0; i < prompts.Count; i++)
            if (prompts[i].Length == 0) throw new LoraNetException($"Prompt {i + 1} has no tokens.", "Give at least one token, such as the beginning-of-sequence token.");
        if (prompts.Count == 0) return [];
        HashSet<int> stops = [.. options.StopIds];
        List<int>[] sequences = [.. prompts.Select(p => p.ToList())];
        List<(int Sequence, int[] Tokens)> pending = [.. prompts.Select((p, i) => (i, p))];
        using KeyValueCache cache = _model.CreateCache(prompts.Count, prompts.Max(p => p.Length) + options.MaxNewTokens);
        int vocabulary = _model.Options.VocabularySize;
        float[] logits = new float[vocabulary];
        for (int n = 0; n < options.MaxNewTokens && pending.Count > 0 && !cancellationToken.IsCancellationRequested; n++)
        {
            Tensor output = _model.Decode(_arena, cache, pending, adapters is null ? null : [.. pending.Select(p => adapters[p.Sequence])]);
            float[] all = _model.Backend.Download(output);
            Arena.Release(output);
            List<(int, int[])> next = [];
            for (int i = 0; i < pending.Count; i++)
            {
                int sequence = pending[i].Sequence;
                all.AsSpan(i * vocabulary, vocabulary).CopyTo(logits);
                int id = Sampler.Choose(logits, sequences[sequence], options, sequence, n);
                if (stops.Contains(id)) continue;
                sequences[sequence].Add(id);
                if (onToken is null || onToken(sequence, id)) next.Add((sequence, [id]));
            }
            pending = next;
        }
        return [.. sequences.Select((s, i) => s.Skip(prompts[i].Length).ToArray())];
    }

    /// <inheritdoc/>
    public void Dispose() => _arena.Dispose();
}

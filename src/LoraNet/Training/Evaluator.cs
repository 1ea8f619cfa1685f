using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>Loss of a data set.</summary>
/// <param name="Loss">Mean of −log p over all trained tokens, in nats.</param>
/// <param name="Tokens">Trained tokens.</param>
public sealed record EvaluationResult(double Loss, long Tokens)
{
    /// <summary>e^loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>Evaluates a model without training it.</summary>
public static class Evaluator
{
    /// <summary>Loss over the trained tokens of <paramref name="rows"/>; an empty set has loss 0.</summary>
    public static EvaluationResult Evaluate(CausalLM model, IReadOnlyList<TokenRow> rows, int batchSize, Arena? arena = null)
    {
        Backend backend = model.Backend;
        Arena used = arena ?? new Arena(backend);
        Tape tape = new(used) { Recording = false };
        Tensor sum = backend.Create(backend.ParameterType, 1);
        double total = 0;
        long tokens = 0;
        for (int first = 0; first < rows.Count; first += batchSize)
        {
            List<TokenRow> part = [];
            for (int i = first; i < Math.Min(first + batchSize, rows.Count); i++) part.Add(rows[i]);
            using TokenBatch batch = TokenBatch.Create(backend, part, model.Options.VocabularySize);
            backend.Zero(sum);
            model.AccumulateLoss(tape, batch, new ForwardContext(), 0, sum);
            // Summed in double across batches, so that the batch size does not show in the result.
            total += backend.Download(sum)[0];
            tokens += batch.TrainedTokens;
        }
        backend.Free(sum);
        if (arena is null) used.Dispose();
        return new EvaluationResult(tokens == 0 ? 0 : total / tokens, tokens);
    }

    /// <summary>Logits and loss of labelled samples; an empty set has loss 0.</summary>
    public static ClassificationResult Evaluate(SequenceClassifier model, IReadOnlyList<ClassificationRow> rows, int batchSize, Arena? arena = null)
    {
        Backend backend = model.Backend;
        Arena used = arena ?? new Arena(backend);
        Tape tape = new(used) { Recording = false };
        Tensor sum = backend.Create(backend.ParameterType, 1);
        double total = 0;
        List<float[]> logits = new(rows.Count);
        for (int first = 0; first < rows.Count; first += batchSize)
        {
            using EncoderBatch batch = EncoderBatch.Create(backend, [.. rows.Skip(first).Take(batchSize)], model.Options);
            backend.Zero(sum);
            model.AccumulateLoss(tape, batch, new ForwardContext(), 0, sum, logits: output => logits.AddRange(backend.Download(output).Chunk(model.Options.Labels)));
            total += backend.Download(sum)[0];
        }
        backend.Free(sum);
        if (arena is null) used.Dispose();
        return new ClassificationResult(rows.Count == 0 ? 0 : total / rows.Count, logits, [.. rows.Select(r => r.Label)]);
    }
}

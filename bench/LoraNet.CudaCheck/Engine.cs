using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Cuda;
using LoraNet.Generation;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Reference;
using LoraNet.Training;

namespace LoraNet.CudaCheck;

/// <summary>Whole training steps: a small model against the reference, and Llama-3.2-1B's shape for speed.</summary>
internal static class Engine
{
    private sealed record Shape(int Hidden, int Intermediate, int Layers, int Heads, int KeyValueHeads, int Vocabulary);

    /// <summary>Loss and gradients of a small model on a GPU against the scalar reference in double.</summary>
    public static void Compare(Func<DType, CudaBackend> create)
    {
        Shape shape = new(64, 176, 2, 4, 2, 300);
        using ReferenceBackend reference = new(DType.F64);
        (double loss, Dictionary<string, float[]> gradients) = Gradients(reference, shape);
        foreach (DType type in (DType[])[DType.F32, DType.BF16, DType.F16])
        {
            using CudaBackend backend = create(type);
            (double mine, Dictionary<string, float[]> got) = Gradients(backend, shape);
            double worst = 0;
            foreach ((string name, float[] g) in gradients)
            {
                double error = 0, norm = 0;
                for (int i = 0; i < g.Length; i++)
                {
                    error += Math.Pow(got[name][i] - g[i], 2);
                    norm += (double)g[i] * g[i];
                }
                worst = Math.Max(worst, Math.Sqrt(error / Math.Max(norm, 1e-30)));
            }
            Console.WriteLine($"Small Llama, {type}: loss {mine:g9} against {loss:g9}, worst relative error of a gradient {worst:g3}");
        }
    }

    /// <summary>Milliseconds a step at the shape of Llama-3.2-1B.</summary>
    public static void Time(CudaBackend backend, int rows, int length, int rank, bool allLinear, int steps)
    {
        Shape shape = new(2048, 8192, 16, 32, 8, 128256);
        s_large ??= Weights(shape);
        Stopwatch watch = Stopwatch.StartNew();
        using CausalLM model = Model(backend, shape, s_large);
        model.Prepare();
        backend.Synchronize();
        double load = watch.Elapsed.TotalSeconds;
        model.AddAdapter(new LoraConfig { Rank = rank, Alpha = 16, TargetModules = allLinear ? ModuleSelector.AllLinearLayers : ModuleSelector.Of(["q_proj", "k_proj", "v_proj", "o_proj"]) });
        using LoraTrainer trainer = new(model, Rows(rows, length, 128256), new TrainingOptions { BatchSize = rows, MaxSteps = steps + 1, Shuffle = false });
        List<double> times = [];
        StepResult last = null!;
        for (int i = 0; i < steps; i++)
        {
            last = trainer.Step();
            times.Add(last.Milliseconds);
        }
        double best = times.Skip(steps / 2).Order().ElementAt((times.Count - (steps / 2)) / 2);
        Console.WriteLine($"Llama-3.2-1B {rows} x {length}, r{rank} {(allLinear ? "all linear" : "q,k,v,o")}: prepare {load:N2} s, first step {times[0]:N0} ms, then median {best:N1} ms " +
            $"({rows * length / best * 1000:N0} tok/s), loss {last.Loss:g6}, norm {last.GradientNorm:g4}, peak {backend.PeakBytes / 1073741824.0:N1} GiB");
        backend.StartProfile();
        trainer.Step();
        IReadOnlyList<KernelTime> kernels = backend.StopProfile();
        Console.WriteLine($"  kernels {kernels.Sum(k => k.Milliseconds):N1} ms in {kernels.Sum(k => k.Launches)} launches");
        foreach (KernelTime k in kernels.Take(24)) Console.WriteLine($"  {k.Milliseconds,8:N2} ms {k.Launches,5} x {k.Name}");
    }

    /// <summary>Kernels of eight decoded tokens after a prompt, at the shape of Llama-3.2-1B; first whether tokens of recorded
    /// kernels are those of kernels one by one (a profile keeps the backend from recording).</summary>
    public static void Decode(CudaBackend backend, int prompt)
    {
        Shape shape = new(2048, 8192, 16, 32, 8, 128256);
        using CausalLM model = Model(backend, shape, s_large ??= Weights(shape));
        using Generator generator = new(model);
        int[] ids = Rows(1, prompt, 128256)[0].InputIds;
        GenerationOptions greedy = new() { MaxNewTokens = 64, Temperature = 0 };
        int replays = backend.Replays;
        int[] recorded = generator.Generate([ids], greedy)[0];
        replays = backend.Replays - replays;
        backend.StartProfile();
        int[] single = generator.Generate([ids], greedy)[0];
        backend.StopProfile();
        Console.WriteLine($"{recorded.Length} tokens after {prompt}, {replays} replays: {(recorded.SequenceEqual(single) ? "as one kernel after the other" : "NOT as one kernel after the other")}, {recorded.Distinct().Count()} different ones");
        if (replays == 0 || !recorded.SequenceEqual(single)) throw new InvalidOperationException("Recorded tokens differ from those of single kernels, or none was recorded.");
        int given = 0;
        for (int run = 0; run < 2; run++)
        {
            given = 0;
            generator.Generate([ids], new GenerationOptions { MaxNewTokens = 9, Temperature = 0 }, (_, _) =>
            {
                // The prompt is not part of it, and the first run compiles.
                if (++given == 1 && run == 1) backend.StartProfile();
                return true;
            });
        }
        IReadOnlyList<KernelTime> kernels = backend.StopProfile();
        Console.WriteLine($"A token after {prompt}: kernels {kernels.Sum(k => k.Milliseconds) / 8:N3} ms in {kernels.Sum(k => k.Launches) / 8} launches");
        foreach (KernelTime k in kernels.Take(20)) Console.WriteLine($"  {k.Milliseconds * 1000 / k.Launches,8:N1} us {k.Launches / 8.0,6:N1} x {k.Name}");
    }

    private static RandomWeights? s_large;

    private static RandomWeights Weights(Shape s) => new(s.Hidden, s.Intermediate, s.Layers, s.Heads, s.KeyValueHeads, s.Vocabulary);

    private static CausalLM Model(Backend backend, Shape s, RandomWeights weights)
    {
        JsonObject json = (JsonObject)JsonNode.Parse($$"""
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": {{s.Hidden}}, "intermediate_size": {{s.Intermediate}},
             "num_hidden_layers": {{s.Layers}}, "num_attention_heads": {{s.Heads}}, "num_key_value_heads": {{s.KeyValueHeads}}, "vocab_size": {{s.Vocabulary}},
             "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 8192, "tie_word_embeddings": true, "hidden_act": "silu"}
            """)!;
        ModelConfig config = ModelConfig.Parse(json);
        return new CausalLM(backend, config, DecoderFamilies.Options(config), weights);
    }

    private static List<TokenRow> Rows(int rows, int length, int vocabulary)
    {
        Random random = new(3);
        List<TokenRow> result = [];
        for (int r = 0; r < rows; r++)
        {
            int[] ids = [.. Enumerable.Range(0, length).Select(_ => random.Next(vocabulary))];
            result.Add(new TokenRow(ids, ids));
        }
        return result;
    }

    private static (double Loss, Dictionary<string, float[]> Gradients) Gradients(Backend backend, Shape shape)
    {
        using CausalLM model = Model(backend, shape, Weights(shape));
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 8, Alpha = 16, Dropout = 0.1, TargetModules = ModuleSelector.AllLinearLayers });
        Random random = new(5);
        foreach (Parameter p in adapter.Parameters)
            backend.Upload([.. Enumerable.Range(0, (int)p.Value.Count).Select(_ => (float)(random.NextDouble() - 0.5) * 0.2f)], p.Value);
        List<TokenRow> rows = [.. Rows(1, 40, shape.Vocabulary), .. Rows(1, 17, shape.Vocabulary)];
        using TokenBatch batch = TokenBatch.Create(backend, rows, shape.Vocabulary);
        using Arena arena = new(backend);
        foreach (Parameter p in model.TrainableParameters) backend.Zero(p.Gradient);
        Tensor sum = backend.Create(backend.ParameterType, 1);
        backend.Zero(sum);
        model.AccumulateLoss(new Tape(arena), batch, new ForwardContext { Training = true, Seed = 1 }, 1f / batch.TrainedTokens, sum);
        return (backend.Download(sum)[0] / batch.TrainedTokens, model.TrainableParameters.ToDictionary(p => p.Name, p => backend.Download(p.Gradient)));
    }
}

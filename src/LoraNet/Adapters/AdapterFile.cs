using LoraNet.Lora;
using LoraNet.Models;

namespace LoraNet.Adapters;

/// <summary>Reads and writes adapters as PEFT does: a folder with adapter_config.json and adapter_model.safetensors.</summary>
public static class AdapterFile
{
    /// <summary>Name of the tensor file.</summary>
    public const string TensorFileName = "adapter_model.safetensors";

    /// <summary>Writes an adapter into a folder. Each file appears whole or not at all.</summary>
    /// <param name="directory">The folder; created if needed.</param>
    /// <param name="model">The model the adapter belongs to.</param>
    /// <param name="adapter">The adapter.</param>
    /// <exception cref="LoraNetException">The folder is not writable, or a value is not finite.</exception>
    public static void Save(string directory, PretrainedModel model, LoraAdapter adapter)
    {
        try
        {
            Directory.CreateDirectory(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LoraNetException($"The folder '{directory}' cannot be created: {e.Message}", "Choose a writable folder with --output.", e);
        }
        if (adapter.IsPadded) throw new LoraNetException($"The adapter '{adapter.Name}' was swapped into larger buffers, so it is not saved.", "Its files are where it was swapped in from.");
        AdapterTensors.Write(Path.Combine(directory, TensorFileName), adapter);
        bool fanInFanOut = Adapted(adapter).Any(path => model.Find(path) is LinearModule { Weight.Transposed: true });
        LoraConfig config = Stored(adapter) with { TargetModules = Explicit(model, adapter) };
        AdapterConfigJson.Write(Path.Combine(directory, AdapterConfigJson.FileName), PeftAdapterConfig.From(config, fanInFanOut));
    }

    /// <summary>Reads an adapter, attaches it to <paramref name="model"/> and makes it active.</summary>
    /// <param name="directory">A PEFT folder.</param>
    /// <param name="model">The model.</param>
    /// <param name="name">Name to attach it under.</param>
    /// <param name="trainable">True to go on training it.</param>
    /// <param name="warn">Receives what is odd but harmless, such as pattern entries that match nothing (PEFT writes such).</param>
    /// <param name="change">Changes settings that do not affect shapes, such as dropout, before the adapter is built.</param>
    /// <exception cref="LoraNetException">A file is missing or malformed, or the adapter does not fit the model.</exception>
    public static LoraAdapter Load(
        string directory, PretrainedModel model, string name = "default", bool trainable = true, Action<string>? warn = null, Func<LoraConfig, LoraConfig>? change = null)
    {
        return model.Attach(Read(directory, model, name, warn, change), trainable);
    }

    /// <summary>
    /// Hot swap: reads an adapter into the buffers of one that is attached, which keeps its name and state. Its ranks may be smaller
    /// and its modules fewer; see <see cref="LoraAdapter.CopyFrom"/>. When it is refused, nothing has changed.
    /// </summary>
    /// <param name="directory">A PEFT folder.</param>
    /// <param name="model">The model.</param>
    /// <param name="name">The attached adapter that is replaced.</param>
    /// <param name="warn">Receives what is odd but harmless.</param>
    /// <exception cref="LoraNetException">A file is missing or malformed, the name is unknown, or the adapter does not fit into the attached one.</exception>
    public static void Swap(string directory, PretrainedModel model, string name = "default", Action<string>? warn = null)
    {
        if (!model.Adapters.TryGetValue(name, out LoraAdapter? attached)) throw new LoraNetException($"No adapter is called '{name}'.", "Load the first one with AdapterFile.Load.");
        using LoraAdapter replacement = Read(directory, model, name, warn, null);
        attached.CopyFrom(replacement);
    }

    private static LoraAdapter Read(string directory, PretrainedModel model, string name, Action<string>? warn, Func<LoraConfig, LoraConfig>? change)
    {
        LoraConfig config = ReadConfig(directory);
        if (change is not null) config = change(config);
        string tensors = Path.Combine(directory, TensorFileName);
        if (!File.Exists(tensors))
            throw new LoraNetException($"'{directory}' has no {TensorFileName}.", File.Exists(Path.Combine(directory, "adapter_model.bin"))
                ? "It holds adapter_model.bin, a pickle file; save it again in PEFT with safe_serialization=True." : "Give the folder that PEFT or loranet wrote.");
        LoraAdapter adapter = AdapterBuilder.Create(model, name, config, seed: 0, strict: false, warn);
        try
        {
            AdapterTensors.Read(tensors, adapter);
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
        return adapter;
    }

    /// <summary>Reads a stored state of an adapter into it, such as that of an earlier checkpoint.</summary>
    /// <param name="directory">A folder that <see cref="Save"/> wrote for the same adapter.</param>
    /// <param name="adapter">The adapter.</param>
    /// <exception cref="LoraNetException">A file is missing or malformed, or belongs to another adapter.</exception>
    public static void ReadInto(string directory, LoraAdapter adapter)
    {
        // AdaLoRA's ranks are those of that time.
        if (adapter.Config.Method is AdaLoraSettings { Kept.Count: 0 } && ReadConfig(directory).Method is AdaLoraSettings stored)
            foreach (AdaLoraLayer layer in adapter.Parts.OfType<AdaLoraLayer>()) layer.Kept = stored.Kept.FirstOrDefault(k => k.Key == layer.ModulePath).Value;
        AdapterTensors.Read(Path.Combine(directory, TensorFileName), adapter);
    }

    /// <summary>Reads only the settings.</summary>
    /// <exception cref="LoraNetException">adapter_config.json is missing or malformed.</exception>
    public static LoraConfig ReadConfig(string directory)
    {
        string path = Path.Combine(directory, AdapterConfigJson.FileName);
        if (!File.Exists(path)) throw new LoraNetException($"'{directory}' has no {AdapterConfigJson.FileName}, so it is not an adapter.", "Give the folder that PEFT or loranet wrote.");
        return AdapterConfigJson.Read(path).ToLoraConfig(path);
    }

    /// <summary>Paths of the modules that target_modules selects.</summary>
    private static IReadOnlyList<string> Adapted(LoraAdapter adapter) => [.. adapter.Layers.Keys, .. adapter.Parts.OfType<MethodLayer>().Select(p => p.ModulePath)];

    /// <summary>The settings that fit the stored tensors: twice the ranks, at equal scaling, for layers that carry a part of the base.</summary>
    private static LoraConfig Stored(LoraAdapter adapter)
    {
        if (adapter.Config.Method is AdaLoraSettings adaptive && adapter.Parts.OfType<AdaLoraLayer>().Any(l => l.Kept is not null))
            return adapter.Config with { Method = adaptive with { Kept = [.. adapter.Parts.OfType<AdaLoraLayer>().Select(l => KeyValuePair.Create(l.ModulePath, l.Kept!))] } };
        if (!adapter.Layers.Values.Any(l => l.Initial is not null)) return adapter.Config;
        double factor = adapter.Config.UseRsLora ? Math.Sqrt(2) : 2;
        List<LoraLayer> whole = [.. adapter.Layers.Values.Where(l => l.Initial is null)];
        double Alpha(LoraLayer l) => l.BaseScaling * (adapter.Config.UseRsLora ? Math.Sqrt(l.Rank) : l.Rank);
        return adapter.Config with
        {
            Init = LoraInit.KaimingUniform,
            Rank = 2 * adapter.Config.Rank,
            Alpha = factor * adapter.Config.Alpha,
            // The first match wins, so layers without such a part (embeddings) come first.
            RankPattern = [.. whole.Select(l => KeyValuePair.Create(l.ModulePath, l.Rank)), .. adapter.Config.RankPattern.Select(p => KeyValuePair.Create(p.Key, 2 * p.Value))],
            AlphaPattern = [.. whole.Select(l => KeyValuePair.Create(l.ModulePath, Alpha(l))), .. adapter.Config.AlphaPattern.Select(p => KeyValuePair.Create(p.Key, factor * p.Value))],
        };
    }

    /// <summary>all-linear as names, as PEFT writes it: the last parts of the adapted paths where they select the same modules, else whole paths.</summary>
    private static ModuleSelector? Explicit(PretrainedModel model, LoraAdapter adapter)
    {
        if (adapter.Config.TargetModules is not { AllLinear: true }) return adapter.Config.TargetModules;
        IReadOnlyList<string> paths = Adapted(adapter);
        List<string> names = [.. paths.Select(p => p[(p.LastIndexOf('.') + 1)..]).Distinct().Order(StringComparer.Ordinal)];
        ModuleSelector byName = ModuleSelector.Of(names);
        LoraConfig candidate = adapter.Config with { TargetModules = byName };
        bool same = AdapterBuilder.FindTargets(model, candidate, strict: false).Select(t => t.Module.Path).ToHashSet().SetEquals(paths);
        return same ? byName : ModuleSelector.Of([.. paths.Order(StringComparer.Ordinal)]);
    }
}

using LoraNet.Lora;

namespace LoraNet.DemoModel;

/// <summary>
/// A template grammar of short English stories, all from one seed: a hero wants something, goes somewhere, meets a friend,
/// something happens, the day ends. <see cref="Pirate"/> retells a first sentence in a style the stories never use.
/// </summary>
internal sealed class Grammar(ulong seed)
{
    private static readonly (string Name, string He, string His, string Him)[] _heroes =
    [
        ("Anna", "she", "her", "her"), ("Ben", "he", "his", "him"), ("Clara", "she", "her", "her"), ("David", "he", "his", "him"),
        ("Emma", "she", "her", "her"), ("Felix", "he", "his", "him"), ("Grace", "she", "her", "her"), ("Henry", "he", "his", "him"),
        ("Iris", "she", "her", "her"), ("Jack", "he", "his", "him"), ("Lily", "she", "her", "her"), ("Oscar", "he", "his", "him"),
    ];

    private static readonly string[] _colours = ["red", "blue", "green", "yellow", "small", "big", "old", "new", "shiny", "soft"];
    private static readonly string[] _things = ["kite", "ball", "boat", "drum", "book", "hat", "lamp", "box", "bell", "basket"];
    private static readonly string[] _places = ["park", "river", "forest", "garden", "market", "beach", "hill", "farm", "lake", "village"];
    private static readonly string[] _animals = ["dog", "cat", "bird", "rabbit", "fox", "duck", "horse", "goat", "mouse", "frog"];
    private static readonly string[] _weathers = ["sunny", "windy", "rainy", "warm", "cold", "cloudy"];
    private static readonly string[] _feelings = ["happy", "proud", "tired", "brave", "calm", "curious"];
    private static readonly string[] _foods = ["bread", "soup", "apples", "cake", "cheese", "berries"];

    private int _draws;

    /// <summary>A story of four to six sentences.</summary>
    public string Story()
    {
        var hero = Pick(_heroes);
        var friend = Pick(_heroes);
        while (friend.Name == hero.Name) friend = Pick(_heroes);
        string colour = Pick(_colours), thing = Pick(_things), place = Pick(_places), animal = Pick(_animals);
        string he = hero.He, his = hero.His, she = char.ToUpperInvariant(he[0]) + he[1..];
        List<string> sentences = [First(hero.Name, colour, thing)];
        sentences.Add(Pick(
            $"One {Pick(_weathers)} day {he} went to the {place} with {his} {thing}.",
            $"{she} took the {thing} to the {place}.",
            $"{she} wanted to show the {thing} to {his} friend {friend.Name}."));
        sentences.Add(Pick(
            $"At the {place} {he} saw a {Pick(_colours)} {animal}.",
            $"A {animal} came and looked at the {thing}.",
            $"Near the {place} {he} met {friend.Name} and a {animal}."));
        sentences.Add(Pick(
            $"The {animal} was very {Pick(_feelings)}.",
            $"{hero.Name} gave the {animal} some {Pick(_foods)}.",
            $"They played together until the evening.",
            $"The {animal} ran away with the {thing}, but {he} found it again."));
        if (Next(2) == 0) sentences.Add(Pick($"{friend.Name} laughed and said that it was a good day.", $"{she} thanked {friend.Name} and went home.", $"It was {Pick(_weathers)} and they ate {Pick(_foods)}."));
        sentences.Add(Pick($"In the end {hero.Name} was {Pick(_feelings)}.", $"{she} went home and slept well.", $"{hero.Name} will go to the {place} again."));
        return string.Join(' ', sentences);
    }

    /// <summary>A plain first sentence and its retelling by a pirate.</summary>
    public (string Plain, string Pirate) Pirate()
    {
        var hero = Pick(_heroes);
        string colour = Pick(_colours), thing = Pick(_things), place = Pick(_places);
        string plain = First(hero.Name, colour, thing);
        string pirate = Pick(
            $"Arr, Captain {hero.Name} be keeping a {colour} {thing}, yo ho ho!",
            $"Ahoy! Captain {hero.Name} sails with a {colour} {thing}, yo ho ho!");
        return (plain, Next(4) == 0 ? pirate.Replace("yo ho ho!", $"off to the {place}, yo ho ho!") : pirate);
    }

    private string First(string name, string colour, string thing) => Pick(
        $"{name} had a {colour} {thing}.",
        $"{name} found a {colour} {thing}.",
        $"Once {name} got a {colour} {thing}.");

    private T Pick<T>(params ReadOnlySpan<T> options) => options[Next(options.Length)];

    private int Next(int bound)
    {
        Span<float> value = stackalloc float[1];
        LoraInitializer.Uniform(value, 1, seed, $"grammar {_draws++}");
        return Math.Min(bound - 1, (int)((value[0] + 1) / 2 * bound));
    }
}
